"""The set-up script finds a Python that works, and setup.py and the two locks agree."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
import setuptools
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = pathlib.Path(__file__).parent.parent
SETUP = ROOT / "scripts" / "setup.sh"
WANTED = f"{sys.version_info.major}.{sys.version_info.minor}"
REAL = os.path.realpath(sys.executable)
HAS_HEADERS = subprocess.run(
    [REAL, "-c", "import sysconfig, os, ensurepip; assert os.path.exists(sysconfig.get_path('include') + '/Python.h')"],
    capture_output=True,
).returncode
needs_real_python = pytest.mark.skipif(
    HAS_HEADERS != 0, reason="this Python has no headers, so set-up would not take it"
)


def _script(path: pathlib.Path, body: str) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture
def tools(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder for PATH with the shell tools that set-up uses and no Python of any kind."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("bash", "sh", "env", "dirname", "uname", "sed", "getconf", "cat", "grep"):
        (folder / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    return folder


def _setup(*arguments: str, path: list[pathlib.Path], **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.pathsep.join(map(str, path)), "HOME": "/nonexistent", **variables}
    return subprocess.run([SETUP, *arguments], env=environment, capture_output=True, text=True, timeout=60)


@needs_real_python
def test_a_broken_shim_first_on_path_is_passed_over(tools: pathlib.Path, tmp_path: pathlib.Path) -> None:
    calls = tmp_path / "calls"
    shim = _script(tmp_path / "shims" / f"python{WANTED}", f'echo shim >> "{calls}"; exit 127')
    good = _script(tmp_path / "bin" / f"python{WANTED}", f'exec "{REAL}" "$@"')
    done = _setup("--print-python", WANTED, path=[shim.parent, good.parent, tools])
    assert done.stdout.strip() == REAL, done.stderr
    assert calls.read_text().split() == ["shim"]


@needs_real_python
def test_python_variable_comes_first(tools: pathlib.Path, tmp_path: pathlib.Path) -> None:
    calls = tmp_path / "calls"
    chosen = _script(tmp_path / "chosen", f'echo chosen >> "{calls}"; exec "{REAL}" "$@"')
    on_path = _script(tmp_path / "bin" / f"python{WANTED}", f'echo path >> "{calls}"; exec "{REAL}" "$@"')
    done = _setup("--print-python", WANTED, path=[on_path.parent, tools], PYTHON=str(chosen))
    assert done.stdout.strip() == REAL, done.stderr
    assert calls.read_text().split() == ["chosen"]


@needs_real_python
def test_a_python_variable_that_does_not_fit_is_named_and_the_search_goes_on(
    tools: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    good = _script(tmp_path / "bin" / "python3", f'exec "{REAL}" "$@"')
    done = _setup("--print-python", WANTED, path=[good.parent, tools], PYTHON="/no/such/python")
    assert done.stdout.strip() == REAL
    assert "PYTHON=/no/such/python" in done.stderr


@needs_real_python
def test_pyenv_versions_are_searched_after_path(tools: pathlib.Path, tmp_path: pathlib.Path) -> None:
    _script(tools / "pyenv", f'echo "{tmp_path}/pyenv root"')
    _script(tmp_path / "pyenv root" / "versions" / "9.9.9" / "bin" / f"python{WANTED}", "exit 1")
    _script(tmp_path / "pyenv root" / "versions" / WANTED / "bin" / f"python{WANTED}", f'exec "{REAL}" "$@"')
    done = _setup("--print-python", WANTED, path=[tools])
    assert done.stdout.strip() == REAL, done.stderr


@needs_real_python
def test_uv_is_the_last_resort_and_is_kept_off_path(tools: pathlib.Path, tmp_path: pathlib.Path) -> None:
    good = _script(tmp_path / "managed" / "python", f'exec "{REAL}" "$@"')
    _script(tools / "uv", f'[ "$2" = install ] || [ "$UV_PYTHON_PREFERENCE" = only-managed ] && echo "{good}"')
    done = _setup("--print-python", WANTED, path=[tools])
    assert done.stdout.strip() == REAL, done.stderr


def test_no_python_is_one_line_with_the_remedy(tools: pathlib.Path) -> None:
    done = _setup("--print-python", WANTED, path=[tools])
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert f"python{WANTED}-venv" in done.stderr
    assert "PYTHON=" in done.stderr


def test_the_wrong_version_is_not_taken(tools: pathlib.Path, tmp_path: pathlib.Path) -> None:
    other = _script(tmp_path / "bin" / "python3.9", f'exec "{REAL}" "$@"')
    done = _setup("--print-python", "3.9", path=[other.parent, tools])
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("glibc", "lock"),
    [("2.28", "compat"), ("2.36", "compat"), ("2.38", "compat"), ("2.39", "current"), ("2.41", "current")],
)
def test_the_lock_follows_glibc(tools: pathlib.Path, tmp_path: pathlib.Path, glibc: str, lock: str) -> None:
    fake = _script(tmp_path / "bin" / "getconf", f"echo glibc {glibc}")
    assert _setup("--print-lock", path=[fake.parent, tools]).stdout.strip() == lock


@pytest.mark.parametrize(
    ("tool", "body", "word"),
    [
        ("getconf", "exit 1", "glibc"),
        ("getconf", "echo glibc 2.17", "too old"),
        ("uname", "echo Darwin arm64", "container"),
    ],
)
def test_a_system_that_cannot_run_it_is_told_so(
    tools: pathlib.Path, tmp_path: pathlib.Path, tool: str, body: str, word: str
) -> None:
    fake = _script(tmp_path / "bin" / tool, body)
    done = _setup("--print-lock", path=[fake.parent, tools])
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert word in done.stderr


def _declared(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    captured: dict[str, object] = {}
    monkeypatch.setattr(setuptools, "setup", lambda **keywords: captured.update(keywords))
    monkeypatch.chdir(ROOT)
    exec(
        compile((ROOT / "setup.py").read_text(encoding="utf-8"), "setup.py", "exec"),
        {"__file__": str(ROOT / "setup.py")},
    )
    return captured


def _pins(lock: str) -> dict[str, str]:
    text = (ROOT / "requirements" / f"{lock}.lock").read_text(encoding="utf-8")
    return {canonicalize_name(name): version for name, version in re.findall(r"^([\w.-]+)==(\S+)$", text, re.MULTILINE)}


@pytest.mark.parametrize("lock", ["compat", "current"])
def test_every_declared_range_fits_the_lock(monkeypatch: pytest.MonkeyPatch, lock: str) -> None:
    declared, pins = _declared(monkeypatch), _pins(lock)
    assert isinstance(declared["install_requires"], list)
    assert isinstance(declared["extras_require"], dict)
    wanted = [*declared["install_requires"], *(line for extra in declared["extras_require"].values() for line in extra)]
    misfits = [
        line
        for line in wanted
        if not Requirement(line).specifier.contains(pins.get(canonicalize_name(Requirement(line).name), "0"), True)
    ]
    assert misfits == []


@pytest.mark.parametrize("lock", ["compat", "current"])
def test_what_is_asked_for_is_in_the_lock(lock: str) -> None:
    lines = (ROOT / "requirements" / f"{lock}.in").read_text(encoding="utf-8").splitlines()
    wanted = [Requirement(line) for line in lines if line and not line.startswith("#")]
    pins = _pins(lock)
    assert all(item.specifier.contains(pins.get(canonicalize_name(item.name), "0"), True) for item in wanted)
    assert {"pip", "pytest", "pytest-timeout"} <= {item.name for item in wanted}


def test_the_lock_with_legacy_tfx_keeps_beam_with_dill() -> None:
    assert _pins("compat")["dill"] == "0.3.1.1"
    assert all(int(_pins(lock)["setuptools"].split(".")[0]) < 81 for lock in ("compat", "current"))
