"""Compiled pipelines equal their golden files, digests and versions aside: TFX 1.16 and 1.21 write the same.

After a wanted change renew them, and read the difference before you commit it:

    RENEW_GOLDEN=1 python -m pytest tests/tfx_pipeline/test_kubeflow_golden.py
"""

import os
import pathlib
import re

import pipeline_fakes as fakes
import pytest
import yaml

from tfx_pipeline import kubeflow_runner, kubeflow_settings
from tfx_pipeline.configs import Daily
from tfx_pipeline.pipeline import create_pipeline
from tfx_pipeline.window import Window

GOLDEN = pathlib.Path(__file__).parent / "golden"
DAILY = Daily(Window("2024-03-31"), "gs://bucket/blessed")


class _Block(yaml.SafeDumper):
    """Dumps JSON and other texts of several lines as they are, so that a difference shows one changed line."""


def _text(dumper, text):
    lines = "\n" in text and not any(line != line.rstrip() for line in text.splitlines())
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if lines else None)


_Block.add_representer(str, _text)


def normalised(compiled: str) -> str:
    """The documents with digests and TFX's version replaced."""
    text = re.sub(r"\b[0-9a-f]{64}\b", "DIGEST", compiled)
    text = re.sub(r"(?m)^sdkVersion: tfx-.*$", "sdkVersion: tfx-VERSION", text)
    return yaml.dump_all(yaml.safe_load_all(text), Dumper=_Block, sort_keys=True, width=10_000)


def compiled_with(folder: pathlib.Path, settings: kubeflow_settings.KubeflowSettings, daily: Daily | None) -> str:
    output = folder / "pipeline.yaml"
    config = fakes.pipeline_config(
        root="gs://bucket/root", dataset='{"log": "gs://bucket/log"}', beam_args=("--a=b",), daily=daily
    )
    kubeflow_runner.compile_pipeline(create_pipeline(config), output, "registry.example/hrlrec:1", settings)
    return normalised(output.read_text("utf-8"))


def with_secrets(folder: pathlib.Path, defaults: pathlib.Path) -> kubeflow_settings.KubeflowSettings:
    file = folder / "settings.yaml"
    secrets = [
        {"secret": "hrlrec-masking", "env": {"HRLREC_MASK_KEY": "key"}, "tasks": ["SessionExampleGen"]},
        {"secret": "hrlrec-storage", "mount": "/var/secrets/storage"},
    ]
    given = yaml.safe_load(defaults.read_text("utf-8"))
    file.write_text(yaml.safe_dump({**given, "secrets": secrets}), "utf-8")
    return kubeflow_settings.load(file)


@pytest.mark.parametrize(
    ("name", "defaults", "daily"),
    [("pipeline", kubeflow_settings.DEFAULTS, None), ("daily", kubeflow_settings.DAILY, DAILY)],
)
def test_a_compiled_pipeline_equals_its_golden_file(tmp_path, name, defaults, daily):
    compiled, golden = compiled_with(tmp_path, with_secrets(tmp_path, defaults), daily), GOLDEN / f"{name}.yaml"
    if os.environ.get("RENEW_GOLDEN"):
        golden.write_text(compiled, "utf-8")
    assert compiled == golden.read_text("utf-8"), "after a wanted change renew the file: see this module's docstring"


def test_digests_and_versions_do_not_count():
    before = f"a: {'0' * 64}\nsdkVersion: tfx-1.16.0\n"
    after = f"a: {'f' * 64}\nsdkVersion: tfx-1.16.1\n"
    assert normalised(before) == normalised(after) != normalised("a: b\nsdkVersion: tfx-1.16.0\n")
