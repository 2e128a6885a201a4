"""The figures in plain sentences: what they mean for training on this log."""

import math
from collections.abc import Mapping
from typing import Any

from hrlrec_tf.experiments.formatting import count, number, percent
from hrlrec_tf.log_health.list_effects import MATERIAL_AUC

Finding = dict[str, str]  # level: good, note or bad; text

_SHORT_LISTS, _COLD, _SMALL_CHANNEL, _FEW_ROWS, _CROWDED = 0.4, 0.5, 0.01, 10_000, 0.5
_NO_EFFECT = (
    "set losses.gamma=0, or take a row-wise model: planning over the list has nothing to plan for, and the channel "
    "selector and the user's history are what remains of HRL-Rec's advantage"
)


def findings(health: Mapping[str, Any]) -> list[Finding]:
    """Sentences, the verdict on list effects first.

    Args:
      health: as `examine.examine` returns it.
    """
    return [
        list_effects(health["list_effects"]),
        *_lists(health),
        *_clicks(health),
        *_channels(health),
        *_cold(health),
        *_columns(health),
    ]


def list_effects(effects: Mapping[str, Any]) -> Finding:
    """The verdict in one careful sentence, and what it means for gamma and for HRL-Rec against a row-wise model."""
    verdict = effects["verdict"]
    if verdict == "impossible":
        return _finding(
            "bad",
            f"List effects: cannot be told. {effects['reason'].capitalize()}. As the log stands, a list-wise model can "
            f"do no more than a row-wise one; {_NO_EFFECT}.",
        )
    if verdict == "few" and effects["reason"]:
        return _finding(
            "note", f"List effects: too few lists to tell. {effects['reason'].capitalize()}. Keep losses.gamma small."
        )
    gain = effects["gains"]["above"]["auc"]
    size = f"AUC {_signed(gain['value'])}, 95 % from {_signed(gain['low'])} to {_signed(gain['high'])}"
    tail = f"{size}, p {p_text(effects['gains']['above']['log_loss']['p_value'])}"
    if verdict == "yes":
        return _found(effects, tail)
    if verdict == "unclear":
        return _finding(
            "note",
            f"List effects: unclear. The click depends on what stands above ({tail}), but a random order inside the "
            "lists tells as much: it is the users' taste or the moment that shows, not the order. Start with "
            "losses.gamma=0 and keep a larger value only if validation says so.",
        )
    if verdict == "few":
        return _finding(
            "note",
            f"List effects: too few lists to tell. A gain that matters, {MATERIAL_AUC} AUC, is neither shown nor ruled "
            f"out ({tail}). Try losses.gamma=0 beside the default.",
        )
    return _finding(
        "note", f"List effects: none found. What stands above adds nothing that matters ({tail}): {_NO_EFFECT}."
    )


def _found(effects: Mapping[str, Any], tail: str) -> Finding:
    small = effects["gains"]["above"]["auc"]["value"] < MATERIAL_AUC
    text = f"List effects: yes. The click depends on what stands above ({tail})"
    if effects["rule_share"] > 0.5:
        text += (
            ". But these lists were made by a list rule: what came next may be the system's answer to earlier clicks, "
            "so that this may be the policy's doing and no effect of the list"
        )
    if small:
        text += (
            f". The effect is small: below {MATERIAL_AUC} AUC a row-wise model predicts clicks as well, and a small "
            "losses.gamma will do"
        )
    else:
        text += (
            ": a list-wise model such as HRL-Rec has something to plan for, and losses.gamma above 0 (0.3 is the "
            "paper's) is worth trying against 0"
        )
    return _finding("good", f"{text}.")


def _lists(health: Mapping[str, Any]) -> list[Finding]:
    lengths, lists = health["list_lengths"], health["lists"]
    alone = lengths.get(1, 0) / lists if lists else math.nan
    found = []
    if alone == 1:
        found.append(_finding("bad", "Every list has one row: effects inside lists cannot be learnt from this log."))
    elif alone > _SHORT_LISTS:
        found.append(
            _finding(
                "note", f"{percent(alone, 0)} of the lists have one row: list-wise effects cannot be learnt there."
            )
        )
    if health["lists_by_rule"] > 0.5:
        found.append(
            _finding(
                "note",
                "Lists were made by a list rule, since the log has no requests: their rows were not shown together.",
            )
        )
    return found


def _clicks(health: Mapping[str, Any]) -> list[Finding]:
    rate, rows = health["click_rate"]["all"].get("click_rate", math.nan), health["rows"]
    if rate in (0.0, 1.0):
        what = "No row was clicked" if rate == 0 else "Every row was clicked"
        return [
            _finding("bad", f"{what}: nothing can be learnt about clicks; check the `clicks` column of dataset.yaml.")
        ]
    found = []
    if rows < _FEW_ROWS:
        found.append(_finding("bad", f"Only {count(rows)} rows: too few to train a network on."))
    rates = health["click_rate"]["by_position"]
    first, last = next(iter(rates.items()), None), next(reversed(rates.items()), None)
    if len(rates) == 1:
        found.append(_finding("note", "There is one position only: nothing can be said about positions."))
    elif first and last and first[1]["low"] > last[1]["high"]:
        low, high = percent(last[1]["click_rate"]), percent(first[1]["click_rate"])
        found.append(
            _finding("note", f"Clicks fall with the position, from {high} at {first[0]} to {low} at {last[0]}.")
        )
    return found


def _channels(health: Mapping[str, Any]) -> list[Finding]:
    channels, rows = health["click_rate"]["by_channel"], health["rows"]
    if len(channels) == 1:
        return [
            _finding(
                "bad",
                "There is one channel only: the channel selector has nothing to choose; a row-wise model will do.",
            )
        ]
    found = []
    overall = health["click_rate"]["all"].get("click_rate", math.nan)
    apart = [name for name, each in channels.items() if each["low"] > overall or each["high"] < overall]
    if apart:
        text = f"{len(apart)} of {len(channels)} channels have a click rate that clearly differs from the log's "
        text += f"{percent(overall)}."
        found.append(_finding("good", text))
    small = [name for name, each in channels.items() if each["rows"] < _SMALL_CHANNEL * rows]
    if small:
        named = ", ".join(small[:5]) + (", ..." if len(small) > 5 else "")
        text = f"{len(small)} of {len(channels)} channels have less than 1 % of the rows ({named}): little is learnt "
        found.append(_finding("note", f"{text}of them."))
    return found


def _cold(health: Mapping[str, Any]) -> list[Finding]:
    found = []
    cold = health["cold"].get("eval", {})
    counts = "" if health["item_counts"] else "add item_counts: {} to dataset.yaml and "
    for what, advice in (
        ("users", "keep network.user_id=false (preset best)"),
        ("items", f"{counts}keep training.hidden_ids above 0 (preset best)"),
    ):
        share = cold.get(f"rows_of_new_{what}", math.nan)
        if share > _COLD:
            text = f"{percent(share, 0)} of the evaluation rows are of {what} that training never saw: {advice}."
            found.append(_finding("note", text))
    none = sum(split["0"] for split in health["history"].values())
    if health["rows"] and none > _COLD * health["rows"]:
        share = percent(none / health["rows"], 0)
        found.append(
            _finding("note", f"{share} of the rows have no history: for them a model knows the request alone.")
        )
    if health["popularity"].get("top_1_percent", 0) > _CROWDED:
        share = percent(health["popularity"]["top_1_percent"], 0)
        found.append(_finding("note", f"1 % of the items have {share} of the rows: a model sees little of the others."))
    return found


def _columns(health: Mapping[str, Any]) -> list[Finding]:
    found = []
    if not health["dwell"]:
        found.append(
            _finding("note", "The log has no dwell times: give dwell, the second of rewards.weights, no weight.")
        )
    if not health["rows_with_tags"]:
        found.append(_finding("note", "The log has no tags: diversity and novelty have nothing to count."))
    rejected = sum(health["log"].get("rejected", {}).values())
    if rejected:
        share = percent(rejected / health["log"]["read"])
        level = "bad" if rejected > 0.05 * health["log"]["read"] else "note"
        found.append(
            _finding(level, f"{count(rejected)} rows ({share}) were rejected; rejected/ holds each with its reason.")
        )
    return found


def _finding(level: str, text: str) -> Finding:
    return {"level": level, "text": text}


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("-", "−")


def p_text(value: float | None) -> str:
    """A p-value for people."""
    return "below 0.001" if value is not None and value < 0.001 else number(value)
