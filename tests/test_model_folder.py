"""Opening a model folder, and its metrics."""

import json

import pytest

from hrlrec_tf import model_folder
from hrlrec_tf.config import Config, RewardConfig
from hrlrec_tf.data import schema
from hrlrec_tf.errors import ModelError


@pytest.fixture
def open_folder(prepared, tmp_path):
    log, sessions_of = (
        schema.read(prepared / "schema.pbtxt"),
        lambda split: prepared / split / "sessions-0.tfrecord.gz",
    )
    return lambda config=None, resume=False, split="train": model_folder.open_folder(
        tmp_path / "model",
        config or Config(),
        [str(sessions_of(split))],
        log,
        str(prepared / "transform"),
        resume,
        "hrl-rec",
    )


def test_new(open_folder, tmp_path):
    folder = open_folder()
    assert {path.name for path in folder.iterdir()} == {"config.json", "schema.pbtxt", "transform"}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert Config.from_dict(json.loads((folder / "config.json").read_text())["config"]) == Config()


def test_an_unfinished_one_starts_again_unless_resumed(open_folder):
    folder = open_folder()
    (folder / "metrics.jsonl").write_text("old")
    assert (open_folder(resume=True) / "metrics.jsonl").read_text() == "old"
    assert not (open_folder() / "metrics.jsonl").exists()


def test_resuming_takes_the_same_settings(open_folder):
    config = Config(rewards=RewardConfig(channel_weights={"news": (1, 1, 1, 1)}))
    open_folder(config)
    assert open_folder(config, resume=True).exists()
    with pytest.raises(ModelError, match="begun with other settings or sessions; repeat them"):
        open_folder(Config(), resume=True)


def test_resuming_takes_the_same_sessions(open_folder):
    open_folder()
    with pytest.raises(ModelError, match="begun with other settings or sessions"):
        open_folder(resume=True, split="eval")


def test_resuming_nothing_starts(open_folder):
    assert (open_folder(resume=True) / "config.json").exists()


def test_other_files_are_left_alone(open_folder, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "thesis.tex").write_text("mine")
    for resume in (False, True):
        with pytest.raises(ModelError, match="holds other files; choose another --out"):
            open_folder(resume=resume)
    assert (tmp_path / "model" / "thesis.tex").read_text() == "mine"


def test_a_stranger_with_a_config_of_his_own_is_left_alone(open_folder, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"theme": "dark"}')
    (tmp_path / "model" / "thesis.tex").write_text("mine")
    with pytest.raises(ModelError, match="holds other files"):
        open_folder()
    assert (tmp_path / "model" / "thesis.tex").exists()


def test_metrics_of_unfinished_epochs_are_dropped(tmp_path):
    log = model_folder.MetricsLog(tmp_path, 0)
    for epoch in (1, 2):
        log.record(epoch, 3 * epoch, "train", {"loss": 0.5})
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 1, "st')  # a kill may cut the last line
    model_folder.MetricsLog(tmp_path, 1).record(2, 6, "train", {"loss": 0.25})
    assert model_folder.read_metrics(tmp_path) == [
        {"epoch": 1, "step": 3, "split": "train", "loss": 0.5},
        {"epoch": 2, "step": 6, "split": "train", "loss": 0.25},
    ]
    assert (tmp_path / "metrics.jsonl").read_text().endswith("}\n")
    assert len(list((tmp_path / "logs").iterdir())) == 1


def test_no_metrics_yet(tmp_path):
    assert model_folder.read_metrics(tmp_path) == []


@pytest.mark.parametrize("text", ["{", "[]", '{"theme": "dark"}'])
def test_what_is_no_model_folder(tmp_path, text):
    assert model_folder.read_settings(tmp_path) is None
    (tmp_path / "config.json").write_text(text)
    assert model_folder.read_settings(tmp_path) is None
