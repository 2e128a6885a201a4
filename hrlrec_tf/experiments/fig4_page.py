"""The page of Figure 4."""

from collections.abc import Mapping, Sequence
from typing import Any

from hrlrec_tf.experiments import charts, fig4, fig4_text
from hrlrec_tf.experiments.drawing import Ink, Series
from hrlrec_tf.experiments.report import template
from hrlrec_tf.experiments.run_charts import Chart
from hrlrec_tf.version import __version__

_HOURS_OF_A_DAY = 24


def render(result: Mapping[str, Any]) -> str:
    """The page as HTML.

    Args:
      result: of `fig4.reproduce`.
    """
    return template("stability.html.j2").render(
        title=result["title"],
        version=__version__,
        result=result,
        heads=fig4_text.HEADS,
        rows=[fig4_text.cells(row) for row in result["rows"]],
        model_heads=fig4_text.MODEL_HEADS,
        models=[fig4_text.model_cells(row) for row in result["models"]],
        pictures=[
            _weeks(model, channel, weeks, f"{model}-{channel}")
            for model, channels in result["series"].items()
            for channel, weeks in channels.items()
        ],
    )


def _weeks(model: str, channel: str, weeks: Mapping[str, Sequence[float]], name: str) -> Chart:
    """A channel's share hour by hour in two adjacent weeks."""
    percent = {week: [100 * value for value in values] for week, values in weeks.items()}
    hours = range(len(next(iter(percent.values()))))
    inks = (Ink.QUIET, Ink.FIRST)
    series = [
        Series(week, values, ink, dash)
        for dash, ((week, values), ink) in enumerate(zip(percent.items(), inks, strict=True))
    ]
    title = f"{fig4.MODELS[model]}: {channel.replace('_', ' ')}"
    days = [
        (f"day {day + 1}", *(f"{_mean(values, day):.1f} %" for values in percent.values()))
        for day in range(len(hours) // _HOURS_OF_A_DAY)
    ]
    alt = f"{title}, share of the shown rows by hour of the week: {'; '.join(' '.join(each) for each in days)}"
    svg = charts.line_chart(
        name, alt, [hour / _HOURS_OF_A_DAY for hour in hours], series, "day of the week", marks=False
    )
    caption = "Share of the shown rows, percent, hour by hour; one line per week, first seed."
    return Chart(title, caption, svg, ("day", *percent), days)


def _mean(values: Sequence[float], day: int) -> float:
    hours = values[day * _HOURS_OF_A_DAY : (day + 1) * _HOURS_OF_A_DAY]
    return sum(hours) / len(hours)
