"""No raw id in what `prepare` and the transform write, nor in a request made of it; `e2e` runs it all."""

import json

import pytest
import sentinels

from hrlrec_tf import verbs
from hrlrec_tf.data import config, prepare, requests, text_scan
from hrlrec_tf.simulator.config import WorldConfig

from . import logs

WORLD = WorldConfig(users=20, items=40, days=3, requests_per_day=30)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sentinels")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(sentinels.KEY_ENV, sentinels.KEY)
        secrets = sentinels.write(folder / "log", WORLD)
        dataset = config.find(str(folder / "log"), None)
        prepare.prepare(dataset, str(folder / "made/sessions"), logs.IN_MEMORY, show_progress=False)
    sampled = requests.sample_requests(str(folder / "made/sessions"), count=3)
    (folder / "made/request.json").write_text(json.dumps(sampled))
    return folder, secrets


def test_the_log_is_full_of_them(made):
    """So that the tests below could fail."""
    folder, secrets = made
    assert len({found.path for found in text_scan.find(folder / "log", secrets)}) > WORLD.days


def test_sessions_rejected_rows_and_requests_hold_none(made):
    folder, secrets = made
    assert text_scan.find(folder / "made", secrets) == []
    summary = json.loads((folder / "made/sessions/summary.json").read_text())
    assert summary["rejected"]["negative_clicks"] > 3 and summary["rejected"]["malformed_row"] == 1
    assert summary["k_anonymity"]["columns"]["user_city"]["values_cut"] == 1


@pytest.mark.slow
def test_the_transform_holds_none(made):
    folder, secrets = made
    verbs.fitted_transform(folder / "made/sessions")
    assert text_scan.find(folder / "made", secrets) == []
