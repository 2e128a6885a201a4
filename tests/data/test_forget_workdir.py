"""Users leave the working folder of daily runs: every file there that held their ids, and nothing else."""

import gzip
import json
import pathlib
import shutil

import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
import tiny

from hrlrec_tf import folder_lock
from hrlrec_tf.data import forget_verb, forget_workdir, prepare, schema, text_scan, tfrecord, transform
from hrlrec_tf.data.config import DatasetConfig
from hrlrec_tf.errors import ConfigError, DataError

from . import logs
from .test_forget import as_artifact

GONE, STAYS = "gone-user-1", "kept-user-2"
NAMES = {"ann": GONE, "bo": STAYS}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Artifacts as a daily run leaves them, of real sessions."""
    folder = tmp_path_factory.mktemp("made")
    rows = [row | {"user_id": NAMES.get(row["user_id"], row["user_id"])} for row in logs.random_rows(4)]
    rows += [rows[0] | {"user_id": GONE, "request_id": f"{GONE}-torn", "clicks": -1}]
    log = logs.write_parquet(rows, folder / "log")
    pipeline = folder / "work" / "pipeline"
    sessions = pipeline / "SessionExampleGen" / "examples" / "3"
    prepare.prepare(DatasetConfig(log=log), str(sessions), logs.IN_MEMORY, show_progress=False)
    graph = pipeline / "Transform" / "transform_graph" / "7"
    transform.fit(str(sessions / "train" / "*"), schema.read(sessions / "schema.pbtxt"), str(graph))
    as_artifact(sessions)
    (pipeline / "metadata.sqlite").touch()
    statistics = pipeline / "StatisticsGen" / "statistics" / "4" / "Split-train"
    statistics.mkdir(parents=True)
    found = tfdv.generate_statistics_from_tfrecord(_files(sessions))
    (statistics / "FeatureStats.pb").write_bytes(found.SerializeToString())
    version = folder / "work" / "blessed" / "7"
    for panel in (pipeline / "StabilityGate" / "report" / "13", version):
        panel.mkdir(parents=True)
        shutil.copyfile(_files(sessions)[0], panel / "panel.tfrecord.gz")
    impressions = pipeline / "ImpressionScorer" / "impressions" / "11" / "Split-eval"
    impressions.mkdir(parents=True)
    shutil.copyfile(_files(sessions)[0], impressions / "impressions-00000-of-00001.gz")
    for place in (version / "model" / "transform", folder / "work" / "serving" / "7"):
        shutil.copytree(graph, place)
    return folder


@pytest.fixture
def work(made, tmp_path):
    return shutil.copytree(made / "work", tmp_path / "work")


def test_no_file_holds_them_afterwards_and_others_stay(made, work, tmp_path, capsys):
    before = len(text_scan.find(work, [STAYS]))
    (tmp_path / "users.txt").write_text(f"{GONE}\nnobody\n")
    words = f"--log {made / 'log'} --out {tmp_path / 'left'} --workdir {work} --user-file {tmp_path / 'users.txt'}"
    counts = tiny.run_verb(forget_verb.VERB, words)["workdir"]
    assert text_scan.find(work, [GONE]) == [] and counts["users_found"] == 1
    assert len(text_scan.find(work, [STAYS])) == before - 1  # the statistics name nobody any more
    assert counts["sessions"].keys() == counts["rejected_rows"].keys() == {"pipeline/SessionExampleGen/examples/3"}
    assert counts["panels"].keys() == {
        f"{at}/panel.tfrecord.gz" for at in ("blessed/7", "pipeline/StabilityGate/report/13")
    }
    assert len(counts["impressions"]) == len(counts["statistics"]) == 1
    assert sum(counts["vocabularies"].values()) == len(counts["vocabularies"]) == 3
    assert GONE not in capsys.readouterr().out
    again = forget_workdir.forget(work, [GONE])
    assert not any(again.values()), "nothing is left to do"


def test_a_vocabulary_keeps_its_ids(work):
    file = work / "blessed/7/model/transform/transform_fn/assets/user_id"
    before = file.read_text().splitlines()
    for user in (GONE, STAYS):  # one after the other
        forget_workdir.forget(work, [user])
    after = file.read_text().splitlines()
    assert [old if old not in (GONE, STAYS) else new for old, new in zip(before, after)] == after
    assert len(set(after)) == len(before)
    copies = {copy.read_bytes() for copy in work.rglob("assets/user_id")}
    assert len(copies) == 1, "the Pusher knows a model by its files"
    tf.saved_model.load(str(file.parents[1]))


def test_a_place_forgotten_twice_has_a_text_of_its_own(work):
    file = work / "serving/8/assets/user_id"
    file.parent.mkdir(parents=True)
    file.write_text(f"<forgotten-1>\n{GONE}\n{STAYS}\n")
    forget_workdir.forget(work, [GONE])
    assert file.read_text().split("\n") == ["<forgotten-1>", "<forgotten-1>'", STAYS, ""]


@pytest.mark.parametrize(("column", "left"), [(None, 0), ("uid", 0), ("user_id", 1)])
def test_rejected_rows_have_the_columns_of_the_log(work, column, left):
    file = work / "pipeline/SessionExampleGen/examples/3/rejected/more.jsonl.gz"
    rows = ({name: GONE, "clicks": -1} for name in ("uid", "user_id"))
    file.write_bytes(gzip.compress("\n".join(json.dumps({"values": row}) for row in rows).encode()))
    forget_workdir.forget(work, [GONE], column)
    assert len(gzip.decompress(file.read_bytes()).splitlines()) == left


def test_a_folder_whose_pipeline_was_moved_away_is_one_all_the_same(work):
    shutil.rmtree(work / "pipeline")
    assert forget_workdir.forget(work, [GONE])["panels"].keys() == {"blessed/7/panel.tfrecord.gz"}
    assert text_scan.find(work, [GONE]) == []


def test_what_killed_runs_left_goes(work):
    left = [
        "pipeline/Evaluator/.system/executor_execution/31/.temp/shard",
        "pipeline/SessionExampleGen/examples/9/.abc/sessions/file",
        "pipeline/SessionExampleGen/examples/10/rejected/file",
        "pipeline/ImpressionScorer/impressions/12/Split-eval/beam-temp-impressions-1/file",
        "blessed/.8.partial/file",
        "serving/.5.removed/file",
    ]
    for name in left:
        (work / name).parent.mkdir(parents=True)
        (work / name).write_text(GONE)
    assert len(forget_workdir.forget(work, [GONE])["leftovers"]) == len(left)
    assert text_scan.find(work, [GONE]) == [] and (work / "pipeline/metadata.sqlite").exists()


def test_a_killed_call_leaves_whole_files_and_is_run_again(work, monkeypatch):
    files = {file: file.read_bytes() for file in work.rglob("*.gz")}
    with monkeypatch.context() as patch:
        patch.setattr(tfrecord.Writer, "close", _stop)
        with pytest.raises(KeyboardInterrupt):
            forget_workdir.forget(work, [GONE])
    assert {file: file.read_bytes() for file in work.rglob("*.gz")} == files
    forget_workdir.forget(work, [GONE])
    assert text_scan.find(work, [GONE]) == [] and not list(work.rglob("*.partial"))


class TestRefusals:
    def test_a_folder_of_something_else(self, tmp_path):
        with pytest.raises(DataError, match="is no working folder of `hrlrec daily`"):
            forget_workdir.forget(tmp_path, [GONE])
        (tmp_path / "pipeline").mkdir()
        for name in ("pipeline/metadata.sqlite", "request.json"):
            (tmp_path / name).touch()
        with pytest.raises(DataError, match="is a folder of `hrlrec quickstart`"):
            forget_workdir.forget(tmp_path, [GONE])

    def test_a_folder_in_use(self, work, monkeypatch):
        monkeypatch.setattr(folder_lock, "_PATIENCE", 0.1)
        with folder_lock.FolderLock(work):
            with pytest.raises(ConfigError, match="another hrlrec works in"):
                forget_workdir.forget(work, [GONE])

    def test_a_file_that_was_cut_short(self, work):
        file = work / "pipeline/StabilityGate/report/13/panel.tfrecord.gz"
        file.write_bytes(file.read_bytes()[:-20])
        with pytest.raises(DataError, match="panel.tfrecord.gz: cannot be read to its end, .* remove it and run again"):
            forget_workdir.forget(work, [GONE])

    def test_without_knowing_whether_ids_are_masked(self, work, tmp_path):
        (tmp_path / "users.txt").write_text(GONE)
        with pytest.raises(ConfigError, match="give --config FILE, or --masked"):
            tiny.run_verb(forget_verb.VERB, f"--workdir {work} --user-file {tmp_path / 'users.txt'}")


def _stop(_):
    raise KeyboardInterrupt


def _files(artifact: pathlib.Path) -> list[str]:
    return sorted(map(str, (artifact / "Split-train").glob("*.gz")))
