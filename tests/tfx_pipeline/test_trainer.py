"""What the Trainer's export carries along, on the tiny model and its sessions."""

import shutil
import types

import pytest
import sessions
import tensorflow as tf
from tfx.utils import io_utils

from hrlrec_tf import export, models, verbs
from hrlrec_tf.config import Config
from hrlrec_tf.errors import ConfigError
from tfx_pipeline import serving_check, trainer

QUOTAS = "news: {at_most: 0}\nvideo: {at_least: 2}\n"


@pytest.fixture(scope="module")
def examples(prepared, tmp_path_factory):
    """The tiny sessions as SessionExampleGen leaves them."""
    folder = tmp_path_factory.mktemp("examples") / "7"
    shutil.copytree(prepared, folder)
    for split in ("train", "validation", "eval"):
        (folder / split).rename(folder / f"Split-{split}")
    return folder


def carried(examples, scratch, **custom_config):
    files = [io_utils.all_files_pattern(str(examples / "Split-train"))]
    return trainer.carried(types.SimpleNamespace(custom_config=custom_config, train_files=files), str(scratch))


def test_the_items_of_the_runs_own_sessions(examples, model_dir, tmp_path):
    make, _ = export.serving_module(str(model_dir), **carried(examples, tmp_path, catalogue=True, quotas=""))
    shown = set()
    for split in ("train", "validation", "eval"):
        for session in serving_check.read_sessions(f"{examples}/Split-{split}/*"):
            shown |= {item.decode() for item in session.features.feature["item_id"].bytes_list.value if item}
    assert set(make().item_ids) == shown


def test_quotas_and_the_answer_that_the_serving_check_expects(examples, model_dir, tmp_path):
    given = carried(examples, tmp_path, catalogue=False, quotas=QUOTAS)
    assert given["catalogue"] is None and open(given["quotas"]).read() == QUOTAS
    drawn = serving_check.read_sessions(f"{examples}/Split-eval/*")
    request = serving_check.canned_request(drawn[0], drawn, sessions.SPEC)
    channels = {
        bounds: serving_check.offline(str(model_dir), bounds)("rank", request)["channel"][0].tolist()
        for bounds in ("", QUOTAS)
    }
    assert b"news" not in channels[QUOTAS] and channels[QUOTAS].count(b"video") >= 2
    assert channels[""] != channels[QUOTAS]


@pytest.fixture
def arguments(examples, prepared):
    """What the Trainer gives, with bounds on a channel."""

    def make(channel):
        return types.SimpleNamespace(
            schema_file=str(examples / "schema.pbtxt"),
            transform_graph_path=verbs.fitted_transform(prepared),
            train_files=[io_utils.all_files_pattern(str(examples / "Split-train"))],
            eval_files=[io_utils.all_files_pattern(str(examples / "Split-validation"))],
            base_model=None,
            custom_config={"config": Config().to_json(), "quotas": f"{channel}: {{at_most: 1}}"},
        )

    return make


def test_bounds_on_an_unknown_channel_end_the_run_before_training(arguments, monkeypatch):
    monkeypatch.setattr(models, "train", lambda *args, **more: pytest.fail("it trained"))
    with pytest.raises(ConfigError, match="channel 'radio' is unknown to the model; it knows .*news"):
        trainer.run_fn(arguments("radio"))


def test_a_channel_that_only_the_model_gone_on_from_knows_may_be_bounded(arguments, model_dir, tmp_path, monkeypatch):
    """It has no rows in the window; its id is kept."""
    base = shutil.copytree(model_dir, tmp_path / "base")
    (names,) = (base / "transform").rglob("channel")
    names.write_text(names.read_text().replace("news", "radio"))

    def train(*args, **more):
        raise InterruptedError("it trains")

    monkeypatch.setattr(models, "train", train)
    with pytest.raises(InterruptedError, match="it trains"):
        trainer._train("hrl-rec", Config(), arguments("radio"), warm_start=str(base))


def test_a_run_that_stands_alone_carries_nothing(examples, tmp_path):
    assert carried(examples, tmp_path, config="{}") == {"catalogue": None, "quotas": None}


def test_remote_sessions_are_brought_to_this_machine(tmp_path):
    """TensorFlow's own memory file system stands in for a bucket."""
    for name in ("summary.json", "Split-train/sessions-0.tfrecord.gz"):
        tf.io.gfile.makedirs("ram://examples/7/Split-train")
        with tf.io.gfile.GFile(f"ram://examples/7/{name}", "w") as file:
            file.write("{}")
    settings = types.SimpleNamespace(custom_config={"catalogue": True}, train_files=["ram://examples/7/Split-train/*"])
    folder = trainer.carried(settings, str(tmp_path))["catalogue"]
    assert folder == str(tmp_path / "sessions") and (tmp_path / "sessions" / "summary.json").exists()
