"""`health.json` and `report.html` of a folder of sessions."""

import pathlib
from collections.abc import Mapping
from typing import Any

from hrlrec_tf import cli
from hrlrec_tf.experiments.formatting import count, percent
from hrlrec_tf.experiments.report import template, write_page
from hrlrec_tf.log_health import effect_pictures, examine, findings, pictures
from hrlrec_tf.version import __version__

NUMBERS = "health.json"
PAGE = "report.html"


def report(sessions: pathlib.Path, show_progress: bool = True) -> dict[str, Any]:
    """Every figure of a folder of sessions, and its findings.

    Raises:
      DataError: the folder holds no finished sessions, or a file is damaged.
    """
    health = examine.examine(sessions, show_progress=show_progress)
    return health | {"findings": findings.findings(health)}


def write(sessions: pathlib.Path, page: pathlib.Path, numbers: pathlib.Path | None = None) -> dict[str, Any]:
    """Writes the page of some sessions and, if named, the file of numbers; returns the numbers."""
    health = report(sessions)
    if numbers is not None:
        cli.write_json(numbers, health)
    write_page(page, render(f"Log: {sessions.resolve().name}", health))
    return health


def render(title: str, health: Mapping[str, Any]) -> str:
    """The page as HTML.

    Args:
      title: heading.
      health: as `report` returns it.
    """
    rejected, effects = health["log"].get("rejected", {}), health["list_effects"]
    title_of_verdict, verdict = health["findings"][0]["text"].split(". ", 1)
    return template("log_health.html.j2").render(
        title=title,
        version=__version__,
        health=health,
        log=health["log"],
        verdict_title=title_of_verdict,
        verdict=verdict,
        verdict_level=health["findings"][0]["level"],
        p_gain=findings.p_text(effects.get("gains", {}).get("above", {}).get("log_loss", {}).get("p_value")),
        p_value=findings.p_text(effects.get("p_value")),
        p_shuffled=findings.p_text(effects.get("p_value_shuffled")),
        findings=health["findings"][1:],
        effects=effect_pictures.effects(effects),
        clicks=pictures.clicks(health),
        over_time=pictures.over_time(health),
        lists=pictures.lists_and_history(health),
        cold=pictures.cold(health),
        dwell=pictures.dwell(health),
        rejected=[(reason, count(rows)) for reason, rows in sorted(rejected.items(), key=lambda each: -each[1])],
        splits=[
            (split, *(count(values[name]) for name in ("rows", "lists", "users")))
            for split, values in health["splits"].items()
        ],
        new_users=percent(health["cold"].get("eval", {}).get("rows_of_new_users"), 0),
    )


def as_text(health: Mapping[str, Any]) -> str:
    """The findings for a terminal."""
    return "\n".join(f"* {each['text']}" for each in health["findings"])
