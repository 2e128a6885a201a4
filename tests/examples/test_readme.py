"""The README shows the examples' own code, which the tests beside this one run."""

import re

from .conftest import EXAMPLES, ROOT

HEADING = "## The layers in your own model"


def test_code_in_the_readme_stands_in_an_example():
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition(HEADING)[2].partition("\n## ")[0]
    blocks = re.findall(r"```python\n(.+?)```", section, flags=re.DOTALL)
    assert len(blocks) == 2
    examples = "".join(path.read_text(encoding="utf-8") for path in sorted(EXAMPLES.glob("*.py")))
    for block in blocks:
        assert block in examples
