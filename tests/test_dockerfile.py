"""The Dockerfile, read as text: no Docker engine is needed, and none builds it here."""

import json
import pathlib
import re

import pytest

from tfx_pipeline import kubeflow_runner

ROOT = pathlib.Path(__file__).parent.parent
LOCK = "requirements/current.lock"


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    """(keyword, arguments), continued lines joined, comments dropped."""
    lines = [line for line in (ROOT / "Dockerfile").read_text("utf-8").splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def final(instructions) -> list[tuple[str, str]]:
    """The instructions of the last stage."""
    starts = [place for place, (keyword, _) in enumerate(instructions) if keyword == "FROM"]
    assert len(starts) == 2, "one stage builds, one runs"
    return instructions[starts[-1] :]


def copied(instructions) -> list[str]:
    """Sources in the build context of all COPY instructions."""
    words = [arguments.split() for keyword, arguments in instructions if keyword == "COPY"]
    return [source for each in words if not each[0].startswith("--from") for source in each[:-1]]


def test_every_source_exists_and_is_let_into_the_context(instructions):
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    assert patterns[0] == "*"
    let_in = {pattern[1:] for pattern in patterns if pattern.startswith("!")}
    sources = copied(instructions)
    assert all((ROOT / source).exists() for source in sources)
    assert set(sources) == let_in


def test_every_package_of_the_project_is_in_the_image(instructions):
    packages = {file.parent.name for file in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks", "build"}
    assert packages and packages <= set(copied(instructions))


def test_it_installs_the_lock_on_the_python_that_the_lock_is_for(instructions):
    installs = [arguments for keyword, arguments in instructions if keyword == "RUN" and "pip install -r" in arguments]
    assert len(installs) == 1 and f"pip install -r {LOCK}" in installs[0]
    version = re.search(r"resolved for Python ([0-9.]+)", (ROOT / LOCK).read_text("utf-8")).group(1)
    (base,) = [arguments for keyword, arguments in instructions if keyword == "ARG"]
    assert base == f"BASE=python:{version}-slim-trixie"
    assert {arguments.split()[0] for keyword, arguments in instructions if keyword == "FROM"} == {"${BASE}"}


def test_it_runs_as_nobody_special(final):
    users = [arguments for keyword, arguments in final if keyword == "USER"]
    assert users == ["10001"]
    assert any(keyword == "RUN" and "useradd" in text and "--uid 10001" in text for keyword, text in final)


def test_it_starts_what_the_compiled_pipeline_starts(final):
    (entry,) = [json.loads(arguments) for keyword, arguments in final if keyword == "ENTRYPOINT"]
    assert tuple(entry) == kubeflow_runner.COMMAND


def test_no_secret_is_baked_in(instructions):
    given = [arguments for keyword, arguments in instructions if keyword in ("ARG", "ENV")]
    assert not re.search(r"KEY|TOKEN|PASSWORD|SECRET", " ".join(given), re.IGNORECASE)


def test_the_default_settings_are_installed_with_the_package(tmp_path, monkeypatch):
    import setuptools

    given = {}
    monkeypatch.setattr(setuptools, "setup", lambda **words: given.update(words))
    monkeypatch.chdir(ROOT)
    exec(compile((ROOT / "setup.py").read_text("utf-8"), "setup.py", "exec"), {"__file__": str(ROOT / "setup.py")})
    patterns = given["package_data"]["tfx_pipeline"]
    assert ROOT / "tfx_pipeline/kubeflow.yaml" in [
        file for each in patterns for file in (ROOT / "tfx_pipeline").glob(each)
    ]
