"""What the project asks for, what the locks pin, and what is installed."""

import importlib.metadata
import pathlib
import re
import sys

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

REQUIREMENTS = pathlib.Path(__file__).resolve().parent.parent / "requirements"


def installed_version(name: str) -> Version | None:
    """The installed version of a distribution, or None."""
    try:
        return Version(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return None


def dependency_set() -> str:
    """The set that this interpreter's Python version belongs to: `current` (3.11) or `compat` (3.10)."""
    return "current" if sys.version_info >= (3, 11) else "compat"


def locked_versions() -> dict[str, Version]:
    """The lock's pins by canonical name; empty when this is not a checkout."""
    path = REQUIREMENTS / f"{dependency_set()}.lock"
    if not path.is_file():
        return {}
    pins = re.findall(r"^([\w.-]+)==(\S+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {canonicalize_name(name): Version(version) for name, version in pins}


def declared_requirements() -> dict[Requirement, str]:
    """What the installed project asks for: requirement -> extra ("" for the core)."""
    declared: dict[Requirement, str] = {}
    for line in importlib.metadata.requires("hrlrec_tf") or ():
        requirement = Requirement(line)
        extra = re.search(r"extra == [\"'](\w+)[\"']", str(requirement.marker or ""))
        declared[requirement] = extra.group(1) if extra else ""
    return declared
