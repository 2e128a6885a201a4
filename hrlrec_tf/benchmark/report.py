"""What `hrlrec benchmark train` found, for people: a text, and the two curves as a picture."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from hrlrec_tf.benchmark import worker
from hrlrec_tf.experiments import charts
from hrlrec_tf.experiments.drawing import Ink, Series

_COLOURS = "color: #222; background: #fff; --grid: #ccc; --first: #0a6ebd; --second: #b3541e"
_FIELDS = {"batch": "lists in a batch", "rows": "behaviours of a state"}
_NAMES = {
    worker.PLAIN: "plain Keras",
    worker.PLAIN_TUNED: "plain Keras, our threads and memory",
    worker.PACKAGE: "this package",
    worker.MATMUL: "one large float32 product",
}


def as_text(result: Mapping[str, Any]) -> str:
    """The figures, as tables."""
    wall, cpu, read = result["wall_ms"], result["cpu_ms"], result["input"]
    lines = [
        f"{result['impressions_per_second']:,.0f} impressions per second on {result['cores']} cores",
        f"{result['speedup_over_plain_keras']:.2f} times as fast as plain Keras "
        f"({result['speedup_with_equal_threads_and_memory']:.2f} with equal threads and memory)",
        f"{100 * result['matmul_share']:.1f} % of the {result['matmul_gflops']:.0f} GFLOP/s of a large float32 product",
        "",
        *table(["a step of", "ms", "CPU ms"], [[_NAMES[kind], wall[kind], cpu[kind]] for kind in wall]),
        "",
        *table(
            ["part of the package's step, timed alone", "ms", "CPU ms"],
            [[part["part"], part["wall_ms"], part["cpu_ms"]] for part in result["parts"]],
        ),
    ]
    for field, what in _FIELDS.items():
        rows = [[str(at[field]), at["wall_ms"], at["cpu_ms"]] for at in result[f"{field}_curve"]]
        lines += ["", *table([what, "ms", "CPU ms"], rows)]
    return "\n".join(
        [
            *lines,
            "",
            f"a batch of the input pipeline alone: {read['memory_wall_ms']:.1f} ms from memory, "
            f"{read['files_wall_ms']:.1f} ms from files, {100 * read['share_of_step']:.0f} % of a step",
        ]
    )


def write_charts(folder: str, result: Mapping[str, Any]) -> list[str]:
    """Writes each curve as an SVG file; returns their names."""
    written = []
    for field, what in _FIELDS.items():
        points = result[f"{field}_curve"]
        svg = charts.line_chart(
            field,
            f"Milliseconds of a training step over {what}",
            [point[field] for point in points],
            [Series("ms per step", [point["wall_ms"] for point in points], Ink.FIRST)],
            f"{what} (vertically: ms per step)",
        )
        written.append(write_picture(folder, f"step-by-{field}", svg))
    return written


def write_picture(folder: str, name: str, svg: str) -> str:
    """Writes a chart to `folder`/`name`.svg, with colours of its own; returns the file's name."""
    file = pathlib.Path(folder) / f"{name}.svg"
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.partial")
    partial.write_text(svg.replace("<svg ", f'<svg style="{_COLOURS}" ', 1), encoding="utf-8")
    partial.replace(file)
    return str(file)


def table(heads: Sequence[str], rows: Sequence[Sequence[str | float]]) -> list[str]:
    """Lines of a table: the first column on the left, numbers on the right with one decimal."""
    width = max(len(str(row[0])) for row in [heads, *rows])
    cells = [[f"{value:,.1f}" if isinstance(value, float) else value for value in row] for row in [heads, *rows]]
    return ["  ".join([str(first).ljust(width), *(str(value).rjust(9) for value in rest)]) for first, *rest in cells]
