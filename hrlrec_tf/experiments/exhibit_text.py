"""An exhibit as text: Markdown, which a terminal shows as well."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hrlrec_tf.experiments import formatting

WIDE = (1, 4, 6, 9)  # columns that would not fit into a terminal


def columns(result: Mapping[str, Any]) -> list[str]:
    """Heads of the table."""
    return [
        *("model", "seeds", "AUC", "95 % over seeds", "95 % over users", f"RelaImpr over {result['base']}"),
        *("HRL-Rec minus it", "p (Holm)", "lists per user", "paper: AUC", "paper: RelaImpr"),
    ]


def cells(row: Mapping[str, Any]) -> list[str]:
    """One row of the table."""
    return [
        row["label"],
        str(row["seeds"]),
        formatting.number(row["auc"], 4),
        interval(row["auc_low"], row["auc_high"]),
        interval(row["users_low"], row["users_high"]),
        relative(row["rela_impr"]),
        formatting.number(row["difference"], 4),
        probability(row["p_value"]),
        formatting.number(row["distinct_lists_per_user"], 2),
        formatting.number(row["paper_auc"], 4),
        relative(row["paper_rela_impr"]),
    ]


def markdown(result: Mapping[str, Any], left_out: Sequence[int] = ()) -> str:
    """Title, table, verdict.

    Args:
      result: of `reproduce.reproduce`.
      left_out: places of columns that are not shown, for a terminal; columns without a value never are.
    """
    heads, rows = columns(result), [cells(row) for row in result["rows"]]
    kept = [i for i in range(len(heads)) if i not in left_out and any(row[i] != formatting.DASH for row in rows)]
    shown = [[row[i] for i in kept] for row in (heads, *rows)]
    notes = [
        f"- {sentence}" for sentence in (*result["verdict"], *map(_left_out, result["left_out"]), *_failed(result))
    ]
    title = f"{result['title']}: {result['test_rows']:,} rows of {result['test_users']:,} users"
    return "\n".join([title, "", *table(shown[0], shown[1:]), "", *notes])


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table whose columns stand below each other."""
    shown = [heads, *rows]
    widths = [max(len(row[i]) for row in shown) for i in range(len(heads))]
    head, *body = (_line(row, widths) for row in shown)
    rule = "|" + "|".join(f" {'-' * width} " for width in widths) + "|"
    return [head, rule, *body]


def interval(low: float, high: float) -> str:
    """Bounds, or a dash."""
    known = formatting.finite(low) and formatting.finite(high)
    return f"{low:.4f} to {high:.4f}" if known else formatting.DASH


def relative(value: float) -> str:
    """A relative improvement in percent."""
    return f"{value:+.1f} %" if formatting.finite(value) else formatting.DASH


def probability(value: float) -> str:
    """A p-value."""
    if not formatting.finite(value):
        return formatting.DASH
    return "< .001" if value < 0.001 else f"{value:.3f}"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = zip(row, widths, strict=True)
    return "| " + " | ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]) + " |"


def _left_out(sentence: str) -> str:
    return f"left out: {sentence}"


def _failed(result: Mapping[str, Any]) -> list[str]:
    return [f"failed: {run}: {reason}" for run, reason in result["failed"].items()]
