"""The doctor names what is wrong and what to do, and fails only for what is required."""

import argparse
import json
import pathlib
import subprocess
import sys

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from hrlrec_tf import doctor
from hrlrec_tf.errors import HrlrecError


def _arguments(json_path: pathlib.Path | None = None) -> argparse.Namespace:
    return argparse.Namespace(timeout=240.0, json=json_path)


def _no_imports(timeout_s: float) -> list[doctor.Check]:
    return []


def test_a_healthy_installation_passes_and_the_result_is_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "check_imports", _no_imports)
    result = doctor.VERB.run(_arguments())
    assert result is not None
    assert result["ok"] is True
    assert result["failed"] == []
    checks = {check["name"]: check for check in json.loads(json.dumps(result))["checks"]}
    assert {"Python", "C library", "dependency set", "tensorflow", "tfx (pipeline)", "pip inside", "disk"} <= set(
        checks
    )
    assert all(set(check) == {"name", "status", "found", "remedy", "required"} for check in checks.values())
    assert all(bool(check["remedy"]) == (check["status"] != doctor.OK) for check in checks.values())
    assert "tensorflow-transform" in capsys.readouterr().out


def test_a_missing_required_package_fails_with_its_name_and_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(doctor, "check_imports", _no_imports)
    monkeypatch.setattr(doctor, "declared_requirements", lambda: {Requirement("no-such-package>=1"): ""})
    with pytest.raises(HrlrecError, match="no-such-package"):
        doctor.VERB.run(_arguments(tmp_path / "doctor.json"))
    lines = capsys.readouterr().out.splitlines()
    row = next(number for number, line in enumerate(lines) if line.startswith("MISSING no-such-package"))
    assert 'pip install "no-such-package>=1"' in lines[row + 1]
    written = json.loads((tmp_path / "doctor.json").read_text(encoding="utf-8"))
    assert written["ok"] is False
    assert written["failed"] == ["no-such-package"]


def test_a_missing_extra_only_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "check_imports", _no_imports)
    monkeypatch.setattr(doctor, "declared_requirements", lambda: {Requirement("no-such-package>=1"): "serving"})
    result = doctor.VERB.run(_arguments())
    assert result is not None
    missing = [check for check in result["checks"] if check["status"] == doctor.MISSING]
    assert [(check["name"], check["required"]) for check in missing] == [("no-such-package (serving)", False)]


@pytest.mark.parametrize(
    ("requirement", "pin", "status", "required"),
    [
        ("packaging>=1", None, doctor.OK, True),
        ("packaging>=999", None, doctor.WRONG, True),
        ("packaging>=1", Version("0.1"), doctor.WRONG, False),
    ],
)
def test_a_version_is_held_against_the_range_and_the_lock(
    requirement: str, pin: Version | None, status: str, required: bool
) -> None:
    check = doctor.check_requirement(Requirement(requirement), "", {} if pin is None else {"packaging": pin})
    assert (check.status, check.required) == (status, required)


def test_old_tfx_without_dill_is_the_known_trap(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {
        "tfx": Version("1.16.0"),
        "apache-beam": Version("2.74.0"),
        "pip": Version("26"),
        "kfp": Version("2.5.0"),
    }
    monkeypatch.setattr(doctor, "installed_version", versions.get)
    bad = [check for check in doctor.check_traps() if check.status != doctor.OK]
    assert [check.name for check in bad] == ["Beam with dill"]
    assert "dill==0.3.1.1" in bad[0].remedy


def test_a_newer_python_on_an_old_glibc_is_the_wrong_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(doctor, "dependency_set", lambda: "current")
    checks = {check.name: check for check in doctor.check_system()}
    assert checks["dependency set"].status == doctor.WRONG
    assert "compat" in checks["dependency set"].remedy


def test_imports_are_proved_in_a_child_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "installed_version", lambda name: Version("1"))
    checks = {check.name: check for check in doctor.check_imports(60.0, ["json", "no_such_module"])}
    assert checks["import json"].status == doctor.OK
    assert checks["import no_such_module"].status == doctor.WRONG
    assert "ModuleNotFoundError" in checks["import no_such_module"].found


def test_an_import_that_hangs_meets_the_time_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    (tmp_path / "sleepy.py").write_text("import time; time.sleep(60)", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(doctor, "installed_version", lambda name: Version("1"))
    checks = {check.name: check for check in doctor.check_imports(3.0, ["json", "sleepy"])}
    assert checks["import json"].status == doctor.OK
    assert checks["import sleepy"].status == doctor.WRONG


def test_the_console_verb_proves_the_real_installation() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hrlrec_tf.cli", "doctor"], capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tf.keras is tf_keras" in done.stdout
    assert "import tfx.v1" in done.stdout
