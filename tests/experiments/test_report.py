"""The page is complete, stands alone and lets no data through as markup."""

import dataclasses
import html.parser
import pathlib
import re

import pytest

from hrlrec_tf.config import Config
from hrlrec_tf.evaluation.panel import PanelStatistics
from hrlrec_tf.experiments import report
from hrlrec_tf.experiments.report import RunReport, render, write_report

HOSTILE = """<script>alert(1)</script><img src=http://example.org/x onerror=alert(1)>"'</style>{{ 7 * 7 }}"""
_VOID = {"meta", "link", "img", "br", "hr", "input"}


class _Page(html.parser.HTMLParser):
    """Tags with their attributes, visible text, and whether tags close in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style" and data.strip():
            self.words.append(data.strip())

    def values(self, attribute: str) -> list[str]:
        return [attributes[attribute] for _, attributes in self.tags if attribute in attributes]

    @property
    def text(self) -> str:
        return "\n".join(self.words)


def _training(epochs: int = 3) -> list[dict[str, object]]:
    records: list[dict[str, object]] = []
    for epoch in range(1, epochs + 1):
        train: dict[str, float] = {"items_gradient_norm": 2.0}
        for level in ("channel", "item"):
            train |= {f"{level}_{loss}_loss": 1 / epoch for loss in ("critic", "click")}
            train |= {
                f"{level}_{name}": 0.1 * epoch for name in ("overestimation", "q_return_correlation", "dead_share")
            }
            train |= {f"{level}_nearest_item_distance": 0.5, f"{level}_actor_gradient_norm": 0.1}
        records.append({"split": "train", "epoch": epoch, "channel_q_mean": 0.1 * epoch, "item_q_mean": 0.2, **train})
        records.append({"split": "validation", "epoch": epoch, "auc": 0.6 + 0.02 * (epoch % 3), "calibration": 1.2})
        panel = {"distinct_lists_per_user": 0.5, "between_user_channel_variance": 0.01, "channel_share/news": 0.4}
        records.append({"split": "panel", "epoch": epoch, "requests": 40, **panel})
    return records


@pytest.fixture
def run() -> RunReport:
    channels = {"news": 300, "video": 700}
    return RunReport(
        title="A run",
        log={
            "read": 1043,
            "accepted": 1000,
            "rejected": {"negative clicks": 40, "no user": 3},
            "requests": {"train": 70, "validation": 10, "eval": 20},
            "rows": {"train": 700, "validation": 100, "eval": 200},
            "channels": {name: {"train": n - 50, "validation": 20, "eval": 30} for name, n in channels.items()},
            "first_timestamp": 1704067200000,
            "last_timestamp": 1705276799000,
            "lists": 100,
            "users": 25,
            "items": 80,
        },
        settings=Config().to_dict(),
        training=_training(),
        evaluation={
            "rows": 200,
            "click_rate": 0.2,
            "auc": 0.71234,
            "gauc": 0.65,
            "log_loss": 0.41,
            "calibration": 1.1,
            "auc_by_channel": {"news": 0.68, "video": float("nan")},
            "auc_by_position": {"1": 0.7, "2-3": 0.66},
        },
        logged_shares={name: n / 1000 for name, n in channels.items()},
        panel=PanelStatistics(40, 25, 31, 1.24, {"news": 0.45, "video": 0.55}, 0.0321),
        sample=[
            {
                "position": 1,
                "item_id": "i42",
                "channel": "news",
                "click_probability": 0.314,
                "q_channel": 0.5,
                "q_item": float("nan"),
            }
        ],
        blessed=True,
        thresholds={"AUC": 0.5, "calibration": (0.5, 2.0)},
        places={"model": "build/serving/1"},
        commands={"Serve it": "hrlrec serve --model-base build/serving"},
        versions={"tensorflow": "2.16.2"},
    )


def test_the_page_says_what_the_run_found(run: RunReport) -> None:
    text = _Page(render(run)).text
    for words in (
        *("0.712", "1,043", "1,000 accepted", "2024-01-01 00:00 UTC", "2024-01-14 23:59 UTC"),
        *("20.0\N{NO-BREAK SPACE}%", "22.0\N{NO-BREAK SPACE}%"),  # click rate, and times calibration
        *("0.6800", "1.24", "0.0321", "i42", "31.4\N{NO-BREAK SPACE}%", "negative clicks", "40"),
        *("AUC at least 0.5, calibration from 0.5 to 2", "build/serving/1", "hrlrec serve --model-base build/serving"),
        *("learning_rate", "0.0002", "2.16.2", "Best in epoch 2: 0.6400"),
        *("30.0\N{NO-BREAK SPACE}%", "45.0\N{NO-BREAK SPACE}%"),  # news, logged and recommended
    ):
        assert words in text, words


def test_the_page_stands_alone(run: RunReport) -> None:
    source = render(run)
    page = _Page(source)
    assert not {tag for tag, _ in page.tags} & {"script", "img", "iframe", "object", "embed", "form", "base"}
    assert page.values("src") == []
    assert all(link.startswith(("#", "data:")) for link in page.values("href") + page.values("xlink:href"))
    assert not re.search(r"@import|url\((?!#)", source)
    assert "default-src 'none'" in " ".join(page.values("content"))
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert len(source.encode()) < 400_000


def test_everything_pointed_at_is_there_once(run: RunReport) -> None:
    source = render(run)
    page = _Page(source)
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    wanted = {link[1:] for link in page.values("href") + page.values("xlink:href") if link.startswith("#")}
    wanted |= set(page.values("aria-labelledby")) | set(re.findall(r"url\(#([^)]+)\)", source))
    assert wanted <= set(ids)


def test_pictures_have_words_and_numbers_beside_them(run: RunReport) -> None:
    page = _Page(render(run))
    pictures = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(pictures) == 19  # of 21: the similarity and the actor losses are missing here
    assert all(picture["role"] == "img" and len(picture["aria-label"]) > 20 for picture in pictures)
    tags = [tag for tag, _ in page.tags]
    assert tags.count("figure") == tags.count("figcaption") == 21
    assert "Channel mix: video 70.0\N{NO-BREAK SPACE}% logged, 55.0" in next(
        picture["aria-label"] for picture in pictures if picture["aria-label"].startswith("Channel mix")
    )


def test_data_is_never_markup(run: RunReport) -> None:
    hostile = dataclasses.replace(
        run,
        title=HOSTILE,
        log={**run.log, "rejected": {HOSTILE: 1}, "channels": {HOSTILE: {"train": 1}}},
        settings={HOSTILE: {HOSTILE: HOSTILE}},
        evaluation={**run.evaluation, "auc_by_channel": {HOSTILE: 0.7}, "auc_by_position": {HOSTILE: 0.7}},
        logged_shares={HOSTILE: 1.0},
        panel=dataclasses.replace(run.panel, channel_shares={HOSTILE: 1.0}),
        sample=[{"item_id": HOSTILE, "channel": HOSTILE, "position": HOSTILE, "click_probability": HOSTILE}],
        blessed=False,
        reasons=[HOSTILE],
        places={HOSTILE: HOSTILE},
        commands={HOSTILE: HOSTILE},
        versions={HOSTILE: HOSTILE},
    )
    page = _Page(render(hostile))
    assert not {tag for tag, _ in page.tags} & {"script", "img"}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert page.words.count(HOSTILE) >= 15
    assert not [style for style in page.values("style") if re.search("[<>{}]|http|alert", style)]


def test_characters_that_no_page_can_hold_are_replaced(run: RunReport, tmp_path: pathlib.Path) -> None:
    odd = dataclasses.replace(run, title="a\x00b\ud800c", logged_shares={"x\x1by\udfff": 1.0})
    written = write_report(tmp_path / "report.html", odd).read_text(encoding="utf-8")
    assert "a\ufffdb\ufffdc" in written
    assert "x\ufffdy\ufffd" in written


def test_what_is_missing_is_a_dash(run: RunReport) -> None:
    empty = _Page(render(RunReport("Nothing yet"))).text
    partial = _Page(render(run)).text
    for text in (empty, partial):
        assert not re.search(r"\b(nan|None|inf|Undefined)\b", text)
    assert empty.count("–") > 20
    assert empty.count("No data.") == 21
    assert "Not checked" in empty
    row = partial[partial.index("i42") :].splitlines()
    assert row[:5] == ["i42", "news", "31.4\N{NO-BREAK SPACE}%", "0.500", "–"]


def test_a_model_below_its_thresholds_says_why(run: RunReport) -> None:
    failed = dataclasses.replace(run, blessed=False, reasons=["auc is 0.4100, required is at least 0.5"])
    text = _Page(render(failed)).text
    assert "auc is 0.4100, required is at least 0.5" in text
    assert "Blessed" not in text


def test_many_channels_are_cut_in_the_picture_alone(run: RunReport) -> None:
    shares = {f"channel {i}": 1 / 30 for i in range(30)}
    page = _Page(
        render(
            dataclasses.replace(run, logged_shares=shares, evaluation={"auc_by_channel": dict.fromkeys(shares, 0.6)})
        )
    )
    assert page.text.count("The first 20 of ") == 2  # with the panel's two the mix has 32
    assert "The first 20 of 32; the table has all." in page.text
    assert all(page.words.count(channel) >= 2 for channel in shares)


def test_one_run_gives_one_page(run: RunReport) -> None:
    assert render(run) == render(run)


def test_a_failure_leaves_the_old_page(run: RunReport, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_report(tmp_path / "new folder" / "report.html", run)
    before = path.read_text(encoding="utf-8")
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]

    def full_disk(self: pathlib.Path, *arguments: object, **keywords: object) -> int:
        self.open("w").close()
        raise OSError("No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_text", full_disk)
    with pytest.raises(OSError, match="No space left"):
        report.write_report(path, dataclasses.replace(run, title="Another"))
    assert path.read_text(encoding="utf-8") == before
