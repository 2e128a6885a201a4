"""What `hrlrec benchmark serve` found, for people: texts, and the curves as pictures."""

from collections.abc import Mapping, Sequence
from typing import Any

from hrlrec_tf.benchmark.report import table, write_picture
from hrlrec_tf.benchmark.timing import PERCENTILES
from hrlrec_tf.experiments import charts
from hrlrec_tf.experiments.drawing import Ink, Series

_HEADS = [name.removesuffix("_ms").replace("p999", "p99.9") for name in PERCENTILES]
_LATE = "late p99"  # of the load generator itself, in the latencies too
_CALLS = {
    "in_process": "in process: rank",
    "in_process_ids": "in process: rank_ids",
    "deepfm_in_process": "in process: DeepFM's score",
    "saved_model": "tf.saved_model.load: rank",
    "saved_model_ids": "tf.saved_model.load: rank_ids",
    "deepfm_saved_model": "tf.saved_model.load: DeepFM's score",
    "grpc": "gRPC: rank",
    "grpc_ids": "gRPC: rank_ids",
    "deepfm_grpc": "gRPC: DeepFM's score",
    "client": "RankingClient.rank, dataclasses to dataclasses",
}
_FIELDS = {"candidates": "candidates", "history": "rows of history", "batch": "requests in a call"}
_SERIES = {"rank_ms": ("rank", Ink.FIRST), "deepfm_ms": ("DeepFM's score", Ink.SECOND)}


def as_text(result: Mapping[str, Any]) -> str:
    """Everything that one run found, as tables."""
    lines = _heading(result)
    if "candidates" in result:
        lines.append(f"requests of {result['candidates']} candidates and {result['history']} rows of history")
    lines.append("")
    rows = [
        [what, *(result[key][name] for name in PERCENTILES), result[key].get("cpu_p50_ms", "")]
        for key, what in _CALLS.items()
        if key in result
    ]
    lines += [*table(["milliseconds", *_HEADS, "CPU p50"], rows), ""]
    found = ", ".join(f"{call} {value:.2f} ms" for call, value in result.get("grpc_overhead_ms", {}).items())
    lines += [f"median through gRPC minus median in process: {found}"] if found else []
    if "saved_model" in result:
        lines.append("in process: on one core, opened as the server opens a model, or by tf.saved_model.load")
    lines += ["", *_throughput(result)]
    if "swap" in result:
        lines += ["", *_swap(result["swap"])]
    for field, points in result.get("curves", {}).items():
        keys = [key for key in _SERIES if key in points[0]]
        lines += ["", f"growth with {_FIELDS[field]}, in process on one core, medians"]
        rows = [[str(point[field]), *(point[key] for key in keys)] for point in points]
        lines += table([_FIELDS[field], *(f"{_SERIES[key][0]}, ms" for key in keys)], rows)
    return "\n".join(lines)


def soak_text(result: Mapping[str, Any]) -> str:
    """What a soak found."""
    soak = result["soak"]
    heading = [*_heading(result), "", f"soak of {soak['minutes']:g} minutes"]
    return "\n".join([*heading, *_throughput(result), "", *_swap(soak)])


def write_charts(folder: str, result: Mapping[str, Any]) -> list[str]:
    """Writes each curve as an SVG file; returns their names."""
    written = []
    for field, points in result.get("curves", {}).items():
        series = [
            Series(name, [point[key] for point in points], ink, dash)
            for dash, (key, (name, ink)) in enumerate(_SERIES.items())
            if key in points[0]
        ]
        written.append(_chart(folder, f"serve-by-{field}", points, field, _FIELDS[field], series, "In process: "))
    sweep = result["sweep"]
    series = [
        Series(name, [point[f"{key}_ms"] for point in sweep], ink, dash)
        for dash, (key, name, ink) in enumerate((("p50", "p50", Ink.FIRST), ("p99", "p99", Ink.SECOND)))
    ]
    points = [{**point, "offered": round(point["offered"])} for point in sweep]
    label = "requests per second, random arrivals"
    written.append(_chart(folder, "serve-by-rate", points, "offered", label, series, f"{result['note']} "))
    return written


def _chart(
    folder: str, name: str, points: Sequence[Mapping[str, Any]], x: str, label: str, series: Sequence[Series], note: str
) -> str:
    alt = f"{note}milliseconds of a call over {label}"
    svg = charts.line_chart(name, alt, [point[x] for point in points], series, f"{label} (vertically: ms)")
    return write_picture(folder, name, svg)


def _heading(result: Mapping[str, Any]) -> list[str]:
    lines = [result["note"], *([result["model"]] if "model" in result else [])]
    if "cores" in result:
        lines.append(
            f"{result['cores']} cores, which server and load generator share; {result['load_average']:.1f} processes "
            "wanted one, on average over the last 5 minutes, these among them"
        )
    return lines


def _throughput(result: Mapping[str, Any]) -> list[str]:
    lines = []
    for key, what in (
        ("", "no batching" if "throughput_batched" in result else "the server"),
        ("_batched", "batching"),
    ):
        if result.get(f"throughput{key}") is None:
            continue
        rates = f"{result[f'throughput{key}']:.0f} answers per second at most"
        lines.append(f"{what}: {rates}, {result[f'sustained{key}']:.0f} random arrivals per second sustained")
        rows = [
            [
                f"{at['offered']:.0f}",
                at["rate"],
                *(at[name] for name in PERCENTILES),
                at["late_p99_ms"],
                str(sum(at["errors"].values())),
            ]
            for at in result[f"sweep{key}"]
        ]
        lines += [*table(["offered per second", "answered", *_HEADS, _LATE, "errors"], rows), ""]
    if result.get("throughput_batched"):
        lines.append(f"batching: {result['throughput_batched'] / result['throughput']:.2f} times the throughput")
    return lines


def _swap(swap: Mapping[str, Any]) -> list[str]:
    errors = ", ".join(f"{count} {status}" for status, count in swap["errors"].items()) or "none"
    memory = ", ".join(f"{each:.0f}" for each in swap["rss_mb_between_swaps"])
    rows = [[name, *(swap[name][key] for key in PERCENTILES)] for name in ("before", "during", "all")]
    return [
        f"{swap['swaps']} swaps of the model under {swap['rate']:.0f} requests per second; "
        f"{swap['all']['calls']} answered, errors: {errors}",
        *table(["milliseconds", *_HEADS], rows),
        f"p99 during a swap is {swap['p99_ratio']:.2f} times that before",
        f"memory of the server before, between and after swaps: {memory} MB; "
        f"{swap['rss_mb_per_minute']:+.1f} MB per minute over the whole time",
    ]
