"""Two days of a feed by the compiled daily pipeline, task by task, end as `hrlrec daily` does."""

import pytest
import small_feed
import tiny

from hrlrec_tf import cli
from tfx_pipeline import blessed, compiled, kubeflow_runner
from tfx_pipeline.local_cluster import LocalCluster, TaskError

pytestmark = pytest.mark.slow
DATES = ("2024-01-03", "2024-01-04")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_feed.write(tmp_path_factory.mktemp("feed"))


@pytest.fixture(scope="module")
def words(folder):
    """Options that both ways of running take."""
    return small_feed.options(folder, *tiny.QUIET, "training.epochs=2")


@pytest.fixture(scope="module")
def local(folder, words):
    """Registry of the local runs."""
    for date in DATES:
        first = ["--first"] if date == DATES[0] else []
        places = ["--log", str(folder / "log"), "--workdir", str(folder / "local")]
        assert cli.main(["daily", *places, "--date", date, *words, *first]) == 0
    return str(folder / "local" / "blessed")


@pytest.fixture(scope="module")
def pipeline(folder, words, local):
    """The daily pipeline, compiled once for all days: log, date and `first` are given per run."""
    output = folder / "daily.yaml"
    places = ["--output", str(output), "--pipeline-root", "gs://bucket/root", "--log", "gs://bucket/log"]
    places += ["--registry", str(folder / "registry"), "--serving", str(folder / "serving")]
    places += ["--schema", str(folder / "local" / "schema.pbtxt")]
    assert kubeflow_runner.main([*places, "--date", DATES[0], *words]) == 0
    return compiled.read(output)


def run(folder, pipeline, date, **parameters):
    given = {"log": str(folder / "log"), "date": date, **parameters}
    return LocalCluster(folder / "cluster", sleep=lambda _: None).run(pipeline, given)


@pytest.fixture(scope="module")
def registry(folder, pipeline):
    """Registry of the compiled runs."""
    for date in DATES:
        done = run(folder, pipeline, date, first=int(date == DATES[0]))
        assert max(task.attempts for task in done.values()) == 1
    return str(folder / "registry")


def cards(registry):
    return [blessed.card(registry, version) for version in blessed.versions(registry)]


def test_the_cards_equal_those_of_the_local_runs(registry, local, folder):
    found, wanted = cards(registry), cards(local)
    assert len(found) == len(wanted) == len(DATES)
    for here, there in zip(found, wanted, strict=True):
        for each in (here, there):
            version, lineage = each.pop("version"), each.pop("lineage")
            assert lineage["base_version"] is None or lineage["base_version"] < version
            assert lineage["dataset"]["log"] == str(folder / "log")
            # The digest of another log was compiled in.
            assert ("log" in lineage["digests"]) == (each is there)
        small_feed.assert_equal_cards(here, there)
    assert found[1]["gates"]["stability"]["figures"].keys() == {"old", "new"}


def test_the_second_day_went_on_from_the_first(registry):
    first, second = blessed.versions(registry)
    assert blessed.card(registry, second)["lineage"]["base_version"] == first


def test_pushed_versions_are_the_recorded_ones(registry, folder):
    assert blessed.versions(str(folder / "serving")) == blessed.versions(registry)


def test_a_day_that_is_not_there_is_named(registry, folder, pipeline):
    with pytest.raises(TaskError, match="task SessionExampleGen failed.*no rows of 2024-01-06, the newest day"):
        run(folder, pipeline, "2024-01-06", first=0)
    assert len(blessed.versions(registry)) == len(DATES)
