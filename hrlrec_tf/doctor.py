"""`hrlrec doctor`: what is installed, what is missing, what to do.

Every check is one row: `ok`, `MISSING` or `WRONG`, what was found, and the remedy. A required row that is not ok fails
the verb; an optional one (the extras, and versions that the project allows but did not lock) only warns. Versions are
read from package metadata; that the heavy packages really import is proved in a child process with a time limit.
"""

import argparse
import dataclasses
import importlib.metadata
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from hrlrec_tf.cli import Verb, write_json
from hrlrec_tf.dependencies import declared_requirements, dependency_set, installed_version, locked_versions
from hrlrec_tf.errors import HrlrecError

OK, MISSING, WRONG = "ok", "MISSING", "WRONG"
CURRENT_GLIBC, LEAST_GLIBC = Version("2.39"), Version("2.28")
SETUP = "run `make setup`"
# module: the distribution that brings it; in the order in which a fault explains the later ones
IMPORTS = {
    "tensorflow": "tensorflow",
    "tf_agents": "tf-agents",
    "tensorflow_recommenders": "tensorflow-recommenders",
    "tfx.v1": "tfx",
}
_KERAS = "set TF_USE_LEGACY_KERAS=1, or import hrlrec_tf before tensorflow; tf-keras must be installed"
_PIP = "TFX installs user modules with it: python -m ensurepip"
_KFP = "compiling for Kubeflow needs kfp 2: pip install 'tfx[kfp]'"
_DILL = "TFX 1.16 needs dill, which newer Beam dropped: pip install apache-beam==2.61.0 dill==0.3.1.1"
MIN_DISK_GIB, MIN_MEMORY_GIB = 5, 4

_IMPORT_ALL = """
import importlib, json, sys
import hrlrec_tf
for name in sys.argv[1:]:
    try:
        module, error = importlib.import_module(name), ""
    except BaseException as failure:
        error = f"{type(failure).__name__}: {failure}"
    # The package behind `tf.keras`: tf_keras is Keras 2, keras is Keras 3.
    keras = module.keras.Model.__module__.split(".")[0] if name == "tensorflow" and not error else ""
    print("\\n" + json.dumps({"module": name, "error": error, "keras": keras}), flush=True)
"""


@dataclasses.dataclass(frozen=True)
class Check:
    """One row of the table.

    Attributes:
      name: what was checked.
      status: `ok`, `MISSING` or `WRONG`.
      found: what is there, for instance a version.
      remedy: what to do, empty when ok.
      required: whether the verb fails when this is not ok.
    """

    name: str
    status: str
    found: str
    remedy: str = ""
    required: bool = True


def _check(name: str, good: bool, found: str, remedy: str, required: bool = True, bad: str = WRONG) -> Check:
    return Check(name, OK if good else bad, found, "" if good else remedy, required)


def check_system() -> list[Check]:
    """Python, the C library, and whether the dependency set of this Python runs on it."""
    python = sys.version_info[:2]
    libc, version = platform.libc_ver()
    glibc = Version(version) if libc == "glibc" else None
    fitting = "current" if glibc is not None and glibc >= CURRENT_GLIBC else "compat"
    return [
        _check(
            "Python",
            python in ((3, 10), (3, 11)),
            platform.python_version(),
            f"use Python 3.10 or 3.11: {SETUP} finds one",
        ),
        _check(
            "C library",
            glibc is not None and glibc >= LEAST_GLIBC,
            f"{libc or 'not glibc'} {version}".strip(),
            f"use a Linux with glibc {LEAST_GLIBC} or newer, for example in a container",
        ),
        _check(
            "dependency set",
            fitting == "current" or dependency_set() == "compat",
            f"{dependency_set()} installed, {fitting} fits this machine",
            f"the current set needs glibc {CURRENT_GLIBC}: {SETUP} (Python 3.10, compat)",
        ),
    ]


def check_requirement(requirement: Requirement, extra: str, pins: Mapping[str, Version]) -> Check:
    """One declared package: is it there, in the allowed range, and as locked?"""
    version, pin = installed_version(requirement.name), pins.get(canonicalize_name(requirement.name))
    name = requirement.name + (f" ({extra})" if extra else "")
    install = f'pip install "{requirement.name}=={pin}"' if pin else f'pip install "{requirement}"'
    if version is None:
        return Check(name, MISSING, f"not installed, wanted {requirement.specifier}", install, required=not extra)
    if not requirement.specifier.contains(version, prereleases=True):
        return Check(name, WRONG, f"{version}, wanted {requirement.specifier}", install, required=not extra)
    if pin is not None and version != pin:
        return Check(name, WRONG, f"{version}, the lock has {pin}", f"{install} (or keep it)", required=False)
    return Check(name, OK, str(version))


def check_packages() -> list[Check]:
    """Every declared package, then in one row whatever else the lock pins."""
    pins = locked_versions()
    try:
        declared = declared_requirements()
    except importlib.metadata.PackageNotFoundError:
        return [Check("hrlrec_tf", MISSING, "not installed", "pip install --no-deps -e . (or `make setup`)")]
    checks = [check_requirement(requirement, extra, pins) for requirement, extra in declared.items()]
    named = {canonicalize_name(requirement.name) for requirement in declared}
    differing = [name for name, pin in pins.items() if name not in named and installed_version(name) != pin]
    if pins:
        found = (
            f"{len(differing)} differ from the lock: {', '.join(differing[:5])}" if differing else f"{len(pins)} pins"
        )
        checks.append(_check("the lock's other packages", not differing, found, SETUP, required=False))
    return checks


def check_traps() -> list[Check]:
    """Known combinations that install well and then fail at run time."""
    checks = []
    pip, tfx, kfp = (installed_version(name) for name in ("pip", "tfx", "kfp"))
    checks.append(_check("pip inside", pip is not None, str(pip or "absent"), _PIP, bad=MISSING))
    if tfx is not None and tfx < Version("1.17"):
        dill, beam = installed_version("dill"), installed_version("apache-beam")
        found = f"Beam {beam}, dill {dill or 'absent'}"
        checks.append(_check("Beam with dill", dill is not None, found, _DILL))
    good, bad = kfp is not None and kfp.major >= 2, WRONG if kfp else MISSING
    checks.append(_check("kfp", good, str(kfp or "absent"), _KFP, required=False, bad=bad))
    return checks


def check_imports(timeout_s: float, modules: Iterable[str] = tuple(IMPORTS)) -> list[Check]:
    """Imports `modules` in a child process, as a program would after `import hrlrec_tf`; adds the Keras mode."""
    modules = [module for module in modules if installed_version(IMPORTS.get(module, module)) is not None]
    command = [sys.executable, "-c", _IMPORT_ALL, *modules]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        output = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout_s).stdout
    except subprocess.TimeoutExpired as error:
        output = (error.stdout or b"").decode()
    rows = (json.loads(line) for line in output.splitlines() if line.startswith('{"module"'))
    results = {row["module"]: row for row in rows}
    checks = []
    for module in modules:
        result = results.get(module, {"error": f"crashed, or took more than {timeout_s:.0f} s", "keras": ""})
        remedy = (
            f"{SETUP}; then `{os.path.basename(sys.executable)} -c 'import hrlrec_tf, {module}'` shows the whole error"
        )
        found = result["error"].splitlines()[0][:150] if result["error"] else "imports"
        checks.append(_check(f"import {module}", not result["error"], found, remedy, required=module != "tfx.v1"))
        if result["keras"]:
            checks.append(_check("Keras mode", result["keras"] == "tf_keras", f"tf.keras is {result['keras']}", _KERAS))
    return checks


def check_resources() -> list[Check]:
    """Room on the disk of the working folder and free memory; too little only warns."""
    disk_gib = shutil.disk_usage(".").free / 2**30
    memory_gib = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    meminfo = pathlib.Path("/proc/meminfo")
    if meminfo.is_file():  # counts the page cache as free, which the pages above do not
        available = re.search(r"MemAvailable:\s+(\d+) kB", meminfo.read_text(encoding="utf-8"))
        memory_gib = int(available.group(1)) / 2**20 if available else memory_gib
    disk, memory = f"{disk_gib:.0f} GiB free here", f"{memory_gib:.1f} GiB free"
    return [
        _check("disk", disk_gib >= MIN_DISK_GIB, disk, f"a quick start wants {MIN_DISK_GIB} GiB free", required=False),
        _check(
            "memory", memory_gib >= MIN_MEMORY_GIB, memory, f"training wants {MIN_MEMORY_GIB} GiB free", required=False
        ),
    ]


def render(checks: Sequence[Check]) -> str:
    """The table as text: status, check, what was found, and under a bad row its remedy."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        note = "" if check.required or check.status == OK else " (optional)"
        lines.append(f"{check.status:<8}{check.name:<{width}}  {check.found}{note}")
        if check.remedy:
            lines.append(f"{'':<8}{'':<{width}}  -> {check.remedy}")
    return "\n".join(lines)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--timeout", type=float, default=300.0, metavar="S", help="limit of the import test, seconds")


def _run(args: argparse.Namespace) -> Mapping[str, Any]:
    checks = check_system() + check_packages() + check_traps() + check_resources()
    print(render(checks), flush=True)
    print("importing the heavy packages, up to a minute ...", file=sys.stderr, flush=True)
    imports = check_imports(args.timeout)
    if imports:
        print(render(imports))
    checks += imports
    failed = [check.name for check in checks if check.required and check.status != OK]
    result = {"ok": not failed, "failed": failed, "checks": [dataclasses.asdict(check) for check in checks]}
    if failed:
        if args.json is not None:  # the command line writes it only for verbs that succeed
            write_json(args.json, result)
        raise HrlrecError(
            f"{len(failed)} of {len(checks)} checks failed: {', '.join(failed)}; the remedies stand above"
        )
    return result


VERB = Verb(
    help="check this installation and say what is missing and what to do",
    example="hrlrec doctor --json doctor.json",
    add_arguments=_add_arguments,
    run=_run,
)
