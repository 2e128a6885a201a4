"""Exhibits on predictions made up so that the order of the models is known; no model is trained."""

import json
import math
import pathlib
import re

import numpy as np
import pandas as pd
import pytest
import sessions as made
from test_report import _Page

from hrlrec_tf import cli
from hrlrec_tf.data import schema
from hrlrec_tf.errors import ConfigError, TrainingError
from hrlrec_tf.evaluation import predictions
from hrlrec_tf.experiments import cells, exhibit_page, exhibit_text, fig3, reproduce, table2, table4
from hrlrec_tf.experiments.cells import Run, Sessions
from hrlrec_tf.features import FeatureSpec

USERS, ROWS = 60, 3000
# How much a model knows: 0 nothing, 1 most.
SKILL = {"lr": 0.25, "fm": 0.3, "nfm": 0.35, "autoint": 0.5, "hrl-rec-best": 0.9, "hrl-rec-best-no-gru": 0.6}


def scored(skill: float, seed: int) -> pd.DataFrame:
    """Rows whose labels are the same for every model, with predictions that know them more or less."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "request_id": [f"r{i // 5}" for i in range(ROWS)],
            "user_id": [f"u{i // (ROWS // USERS)}" for i in range(ROWS)],
            "channel": rng.choice(["news", "video"], ROWS),
            "position": np.arange(ROWS) % 5 + 1,
            "history_impressions": 3,
            "label": rng.integers(2, size=ROWS),
        }
    )
    noise = np.random.default_rng([seed, int(100 * skill)]).normal(size=ROWS)
    return frame.assign(prediction=1 / (1 + np.exp(-(skill * (frame["label"] - 0.5) + noise))))


@pytest.fixture
def out(tmp_path) -> pathlib.Path:
    return tmp_path / "exhibits"


@pytest.fixture
def data(tmp_path) -> Sessions:
    folder = tmp_path / "sessions"
    for split in ("train", "validation", "eval"):
        (folder / split).mkdir(parents=True)
        (folder / split / "sessions-0.tfrecord.gz").write_text(split)
    (folder / "summary.json").write_text("{}")
    (folder / "transform").mkdir()
    schema.write(schema.to_schema(made.SPEC), folder / "schema.pbtxt")
    return Sessions.open(str(folder))


@pytest.fixture
def trained(monkeypatch) -> list[str]:
    """Runs that were executed, without training."""
    executed = []

    def execute(self: Run) -> dict:
        executed.append(str(self))
        if self.cell.name == "autoint":
            raise TrainingError("no room")
        predictions.write(self.predictions, scored(SKILL.get(self.cell.name, 0.4), self.seed))
        self.file("models").mkdir(parents=True)
        record = {"epoch": 1, "split": "panel", "distinct_lists_per_user": 0.5 + self.seed}
        (self.file("models") / "metrics.jsonl").write_text(json.dumps(record) + "\n")
        result = {"auc": 0.5, **self.identity, "train_seconds": 2.0}
        cli.write_json(self.file("results", ".json"), result)
        return result

    monkeypatch.setattr(Run, "execute", execute)
    return executed


def make(exhibit, data, out, seeds=2):
    return reproduce.reproduce(exhibit, data, out, range(seeds), jobs=1, replicates=200)


class TestTable2:
    def test_rows(self, data, out, trained):
        result = make(table2.exhibit("best"), data, out)
        rows = {row["label"]: row for row in result["rows"]}
        assert list(rows) == ["LR", "FM", "NFM", "AFM", "Wide&Deep", "DeepFM", "AutoInt", "HRL-Rec"]
        ours, lr = rows["HRL-Rec"], rows["LR"]
        assert ours["auc"] > rows["NFM"]["auc"] > lr["auc"] > 0.5
        assert ours["auc_low"] < ours["auc"] < ours["auc_high"] and ours["users_low"] < ours["users_high"]
        assert lr["rela_impr"] == 0 and ours["rela_impr"] == pytest.approx(
            100 * ((ours["auc"] - 0.5) / (lr["auc"] - 0.5) - 1)
        )
        assert lr["p_value"] < 0.05 and lr["difference"] > 0 and math.isnan(ours["p_value"])
        assert (ours["paper_auc"], ours["paper_rela_impr"]) == (0.8097, 34.01)
        assert ours["distinct_lists_per_user"] == 1.0 and ours["seeds"] == 2 and ours["train_seconds"] == 2.0

    def test_a_row_that_failed_is_missing_and_said_to_be(self, data, out, trained):
        result = make(table2.exhibit("best"), data, out)
        autoint = next(row for row in result["rows"] if row["model"] == "autoint")
        assert autoint["seeds"] == 0 and math.isnan(autoint["auc"])
        assert result["failed"] == {"autoint seed 0": "no room", "autoint seed 1": "no room"}
        assert "failed: autoint seed 0: no room" in exhibit_text.markdown(result)

    def test_nothing_is_run_twice_not_even_by_another_exhibit(self, data, out, trained):
        make(table2.exhibit("best"), data, out)
        first = len(trained)
        make(table2.exhibit("best"), data, out)
        assert set(trained[first:]) == {"autoint seed 0", "autoint seed 1"}  # which failed
        before = len(trained)
        make(table4.exhibit("best"), data, out)
        assert {name.rpartition(" seed")[0] for name in trained[before:]} == {
            f"hrl-rec-best-{name}" for name in table4.ABLATIONS
        }

    def test_without_the_base_there_is_nothing_to_say(self, data, out, monkeypatch):
        def execute(self):
            raise TrainingError("disk full")

        monkeypatch.setattr(Run, "execute", execute)
        with pytest.raises(TrainingError, match="no run of lr is finished, .*: lr seed 0: disk full"):
            make(table2.exhibit("best"), data, out, seeds=1)

    def test_history_for_the_baselines(self):
        exhibit = table2.exhibit("best", history=True)
        assert [row.label for row in exhibit.rows][:2] == ["six-feature LR", "LR-history"]
        assert exhibit.base == "lr-history" and len(exhibit.rows) == 9
        assert all(cell.settings == ("inputs.history=true",) for cell in exhibit.cells[1:-1])


class TestVerdict:
    def rows(self, *figures):
        names = ["hrl-rec-best", "a", "b", "c"]
        return [
            {"model": name, "label": name.upper(), "panel": "", "auc": auc, "difference": 0.8 - auc, "p_value": p}
            for name, (auc, p) in zip(names, figures)
        ]

    def verdict(self, *figures):
        return " ".join(reproduce.verdict(table2.exhibit("best"), self.rows(*figures)))

    def test_first_with_significance(self):
        assert self.verdict((0.8, math.nan), (0.7, 0.001), (0.6, 0.002)) == (
            "HRL-Rec is first by mean AUC (0.8000). Significantly ahead (p < 0.01) of A (0.7000), B (0.6000)."
        )

    def test_where_it_is_not_it_says_so(self):
        said = self.verdict((0.8, math.nan), (0.81, 0.9), (0.79, 0.2), (0.7, 0.001))
        assert "HRL-Rec is number 2 of 4" in said and "Behind A (0.8100)." in said
        assert "Its lead over B (0.7900) is not significant." in said and "ahead (p < 0.01) of C (0.7000)" in said

    def test_better_by_the_mean_is_not_called_behind_and_ahead(self):
        rows = self.rows((0.8, math.nan), (0.801, 0.001), (0.7, math.nan))
        rows[1]["difference"] = 0.004
        said = " ".join(reproduce.verdict(table2.exhibit("best"), rows))
        assert "ahead" not in said and "Behind A" in said and "Not tested against B" in said

    def test_a_row_without_a_value_counts_nowhere(self):
        assert "number" not in self.verdict((0.8, math.nan), (math.nan, math.nan), (0.7, 0.001))


def test_table4_names_what_each_part_is_worth(data, out, trained):
    result = make(table4.exhibit("best"), data, out)
    rows = {row["model"]: row for row in result["rows"]}
    assert rows["hrl-rec-best-no-gru"]["settings"] == ["network.sequence=mean"]
    assert rows["hrl-rec-best-no-gru"]["paper_auc"] == 0.7879
    assert math.isnan(rows["hrl-rec-best-supervised"]["paper_auc"])
    assert rows["hrl-rec-best"]["rela_impr"] > rows["hrl-rec-best-no-gru"]["rela_impr"] > 0


class TestFig3:
    spec = FeatureSpec(history_length=41, list_length=10, max_tags=2)

    def test_the_presets_own_values_are_one_cell(self):
        exhibit = fig3.exhibit("best", self.spec, gammas=[0, 0.3], lengths=[20, 50])
        names = [row.cell.name for row in exhibit.rows]
        assert names == ["hrl-rec-best-gamma-0", "hrl-rec-best", "hrl-rec-best-length-20", "hrl-rec-best"]
        assert len(exhibit.cells) == 3 and not exhibit.left_out
        assert [(row.panel, row.x) for row in exhibit.rows[::2]] == [(fig3.DISCOUNT, 0), (fig3.LENGTH, 20)]

    def test_lengths_that_the_sessions_cannot_show_are_named(self):
        exhibit = fig3.exhibit("best", self.spec, gammas=[0.3], lengths=[5, 50, 100])
        assert [row.x for row in exhibit.rows if row.panel == fig3.LENGTH] == [50]
        short, long = exhibit.left_out
        assert short.startswith("5 rows: ") and "set network.window=sliding" in short
        assert long.startswith("100 rows: ") and "prepare them with sequence_length: 100" in long

    def test_the_reference_is_always_there(self):
        exhibit = fig3.exhibit("best", self.spec, gammas=[0.9], lengths=[])
        assert exhibit.reference in {cell.name for cell in exhibit.cells}

    def test_settings_of_all_rows(self):
        exhibit = fig3.exhibit("best", self.spec, ["losses.gamma=0.9"], gammas=[0.3, 0.9], lengths=[])
        assert [row.cell.name for row in exhibit.rows] == ["hrl-rec-best-gamma-0.3", "hrl-rec-best"]

    def test_the_own_length_follows_the_settings(self):
        exhibit = fig3.exhibit("best", self.spec, ["network.sequence_length=30"], gammas=[], lengths=[30, 50])
        assert [row.cell.name for row in exhibit.rows] == ["hrl-rec-best", "hrl-rec-best-length-50"]

    def test_bad_values(self):
        with pytest.raises(ConfigError, match="'gamma' is 2"):
            fig3.exhibit("best", self.spec, gammas=[2])


@pytest.mark.parametrize("name", ["table2", "table4", "fig3"])
def test_the_verb(name, data, out, trained, capsys, monkeypatch):
    arguments = ["reproduce", name, f"--data={data.folder}", f"--out={out}", "--seeds=2", "--jobs=1", "--replicates=50"]
    assert cli.main([*arguments, f"--json={out / 'result.json'}"]) == 0
    printed = capsys.readouterr().out
    result = json.loads((out / f"{name}.json").read_text())
    assert result == json.loads((out / "result.json").read_text())
    assert {"model", "auc", "auc_low", "auc_high", "rela_impr", "p_value", "seeds"} <= set(result["rows"][0])
    table = (out / f"{name}.md").read_text()
    said = "AUC is highest at γ\xa0=\xa00.3" if name == "fig3" else "HRL-Rec is first by mean AUC"
    assert said in table and said in printed and max(map(len, printed.splitlines()[:20])) <= 120
    widths = {len(line) for line in table.splitlines() if line.startswith("|")}
    assert len(widths) == 1
    page = _Page((out / f"{name}.html").read_text())
    for row in result["rows"]:
        assert row["label"] in page.text
    assert len(re.findall("<svg", (out / f"{name}.html").read_text())) == 2


def test_the_page_of_one_seed_has_no_intervals(data, out, trained):
    result = make(table2.exhibit("best"), data, out, seeds=1)
    page = _Page(exhibit_page.render(result))
    assert "nan" not in page.text.lower().split()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["table4", "--history"], "--history gives the baselines of table2 pooled history; table4 has none"),
        (["table2", "--seeds=0"], "--seeds must be from 1 to 1000: got 0"),
        (["table2", "--jobs=0"], "--jobs must be from 1 to 256: got 0"),
        (["table2", "--set", "losses.gamma=7"], "setting 'gamma' is 7"),
    ],
)
def test_bad_usage(words, message, data, out, capsys):
    assert cli.main(["reproduce", *words, f"--data={data.folder}", f"--out={out}"]) == 1
    assert message in capsys.readouterr().err


def test_no_sessions(tmp_path, capsys):
    assert cli.main(["reproduce", "table2", f"--data={tmp_path}", f"--out={tmp_path / 'out'}"]) == 1
    assert "holds no finished sessions" in capsys.readouterr().err


def test_fitting_jobs_is_the_default(data, out, trained, monkeypatch):
    asked = []
    monkeypatch.setattr(cells, "fitting_jobs", lambda: asked.append(1) or 1)
    assert cli.main(["reproduce", "table4", f"--data={data.folder}", f"--out={out}", "--seeds=1"]) == 0
    assert asked == [1]
