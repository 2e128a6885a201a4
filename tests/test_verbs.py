"""The verbs `train` and `export`, called as the command line calls them."""

import json

import pytest
import tiny

from hrlrec_tf import training, verbs
from hrlrec_tf.data import transform
from hrlrec_tf.errors import ConfigError, DataError


@pytest.fixture
def calls(monkeypatch):
    """What `train` hands to the transform and to the training loop, which do nothing."""
    seen = {}

    def fit(pattern, schema, out):
        seen["fit"] = (pattern, out)

    def train(config, schema, transform_dir, train_files, validation_files, out, resume, model, warm_start, **_):
        seen["train"] = (config, transform_dir, train_files, validation_files, out, resume)
        seen["from"] = (model, warm_start)
        return {"epochs": 1, "validation_auc": 0.5}

    monkeypatch.setattr(transform, "fit", fit)
    monkeypatch.setattr(training, "train", train)
    return seen


def test_train_wrote_a_model(model_dir):
    """The fixture itself ran the verb."""
    assert json.loads((model_dir / "result.json").read_text())["model"] == "hrl-rec"


def test_train_hands_everything_on(prepared, tmp_path, calls, capsys):
    words = "--preset=paper --set=losses.gamma=0.9 --set=training.epochs=3 --resume"
    result = tiny.run_verb(verbs.TRAIN, f"--data={prepared} --out={tmp_path / 'm'} {words}")
    config, transform_dir, train_files, validation_files, out, resume = calls["train"]
    assert (config.losses.gamma, config.training.epochs, config.network.action_space) == (0.9, 3, "tanh")
    assert "fit" not in calls and transform_dir == str(prepared / "transform")
    assert train_files == [str(prepared / "train" / "sessions-0.tfrecord.gz")]
    assert validation_files == [str(prepared / "validation" / "sessions-0.tfrecord.gz")]
    assert (out, resume) == (str(tmp_path / "m"), True)
    assert result["epochs"] == 1 and "validation AUC 0.5000" in capsys.readouterr().out
    assert calls["from"] == ("hrl-rec", None)


def test_a_warm_start_meets_the_transform_of_the_sessions(prepared, model_dir, tmp_path, calls, capsys):
    tiny.run_verb(verbs.TRAIN, f"--data={prepared} --out={tmp_path / 'm'} --warm-start={model_dir}")
    assert calls["from"] == ("hrl-rec", str(model_dir)) and calls["train"][1] == str(prepared / "transform")
    assert f"went on from {model_dir} with its vocabularies" in capsys.readouterr().out


def test_train_fits_the_transform_once(prepared, tmp_path, calls):
    (tmp_path / "summary.json").write_text("{}")
    (tmp_path / "schema.pbtxt").write_text((prepared / "schema.pbtxt").read_text())
    tiny.run_verb(verbs.TRAIN, f"--data={tmp_path} --out={tmp_path / 'm'}")
    assert calls["fit"] == (str(tmp_path / "train" / "*"), str(tmp_path / "transform"))


def test_the_best_preset_is_the_default(prepared, tmp_path, calls):
    tiny.run_verb(verbs.TRAIN, f"--data={prepared} --out={tmp_path / 'm'}")
    config, *_, resume = calls["train"]
    assert config.network.action_space == "l2" and resume is False


@pytest.mark.parametrize(("words", "error"), [("--set=losses.gama=1", ConfigError), ("--set=gamma", ConfigError)])
def test_wrong_settings(prepared, tmp_path, words, error, calls):
    with pytest.raises(error):
        tiny.run_verb(verbs.TRAIN, f"--data={prepared} --out={tmp_path / 'm'} {words}")
    assert "train" not in calls


def test_unknown_models_and_presets_are_bad_usage(prepared, capsys):
    for words in ("--model=hal", "--preset=beast"):
        with pytest.raises(SystemExit) as caught:
            tiny.run_verb(verbs.TRAIN, f"--data={prepared} --out=m {words}")
        assert caught.value.code == 2


def test_unfinished_sessions_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"no finished sessions \(no summary.json\); run hrlrec prepare --out"):
        tiny.run_verb(verbs.TRAIN, f"--data={tmp_path} --out=m")


def test_export_counts_versions(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr("hrlrec_tf.export.export_saved_model", lambda model, out, *_: written.append((model, out)))
    for name in ("1", "9", "10", "notes", ".11.partial"):
        (tmp_path / name).mkdir()
    result = tiny.run_verb(verbs.EXPORT, f"--model=m --out={tmp_path}")
    assert result == {"version": 11, "path": str(tmp_path / "11")} and written == [("m", str(tmp_path / "11"))]
    assert tiny.run_verb(verbs.EXPORT, f"--model=m --out={tmp_path / 'new'}")["version"] == 1


def test_session_files_by_split(prepared):
    assert [len(verbs.session_files(prepared, split)) for split in ("train", "validation", "eval")] == [1, 1, 1]
    with pytest.raises(ConfigError, match="split 'test' is unknown; choose train, validation or eval"):
        verbs.session_files(prepared, "test")
