"""What old and killed runs leave goes; what a run may still read stays."""

import pathlib
import shutil

import pytest
from tfx import v1 as tfx

from tfx_pipeline import dag, retention

Model = tfx.types.standard_artifacts.Model


@tfx.dsl.components.component
def Write(out: tfx.dsl.components.OutputArtifact[Model], text: tfx.dsl.components.Parameter[str]) -> None:
    pathlib.Path(out.uri, "file").write_text(text)
    if text == "bug":
        raise ValueError(text)
    if text == "kill":
        raise KeyboardInterrupt  # which TFX does not clean up after, as after SIGKILL


@tfx.dsl.components.component
def Copy(
    given: tfx.dsl.components.InputArtifact[Model],
    out: tfx.dsl.components.OutputArtifact[Model],
    value: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.String],
) -> None:
    text = pathlib.Path(given.uri, "file").read_text()
    pathlib.Path(out.uri, "file").write_text(text)
    value.value = text


class Toy:
    """Runs of Write -> Copy in one folder."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.root, self.metadata = folder / "root", folder / "root" / "metadata.sqlite"
        self.root.mkdir()

    def run(self, text: str) -> list[str]:
        """Returns the components' states."""
        write = Write(text=text)
        components = [write, Copy(given=write.outputs["out"])]
        pipeline = tfx.dsl.Pipeline("toy", str(self.root), components=components, enable_cache=True)
        return [each.state for each in dag.run_dag(pipeline, str(self.metadata)).values()]

    def prune(self, keep: int) -> list[str]:
        removed = retention.prune(str(self.root), str(self.metadata), "toy", keep)
        assert not any(pathlib.Path(each).exists() for each in removed)
        return sorted(str(pathlib.Path(each).relative_to(self.root)) for each in removed)

    def texts(self, output: str) -> list[str]:
        """What is left of an output, from execution to execution."""
        folders = sorted((self.root / output).iterdir(), key=lambda folder: int(folder.name))
        return [(folder / "file").read_text() for folder in folders]


@pytest.fixture
def toy(tmp_path):
    return Toy(tmp_path)


def test_superseded_artifacts_go_once_and_the_newest_stay(toy):
    for text in "abc":
        toy.run(text)
    assert toy.prune(keep=2) == ["Copy/out/2", "Copy/value/2", "Copy/value/2/value", "Write/out/1"]
    assert toy.texts("Write/out") == toy.texts("Copy/out") == ["b", "c"]
    assert toy.prune(keep=2) == []
    assert toy.metadata.exists()


def test_what_a_newer_run_took_from_the_cache_stays(toy):
    for text in "aba":
        states = toy.run(text)
    assert states == ["cached", "cached"]
    toy.prune(keep=1)
    assert toy.texts("Write/out") == toy.texts("Copy/out") == ["a"]
    assert toy.run("a") == ["cached", "cached"]


def test_a_pruned_artifact_is_made_anew_and_not_taken_from_the_cache(toy):
    for text in "ab":
        toy.run(text)
    toy.prune(keep=1)
    assert toy.run("a") == ["ran", "ran"]
    assert toy.texts("Copy/out") == ["b", "a"]


def test_failed_executions_push_no_good_ones_out(toy):
    toy.run("a")
    for _ in range(2):
        with pytest.raises(dag.PipelineError):
            toy.run("bug")
    toy.prune(keep=1)
    assert toy.texts("Write/out") == ["a"] and toy.run("a") == ["cached", "cached"]


def test_what_a_killed_execution_left_goes_when_its_component_has_begun_again(toy):
    toy.run("a")
    with pytest.raises(KeyboardInterrupt):
        toy.run("kill")
    (toy.root / "Write/.system/executor_execution/3/.temp").mkdir(parents=True)  # Beam's, which SIGKILL leaves too
    assert toy.prune(keep=7) == [] and toy.texts("Write/out") == ["a", "kill"]  # it is the newest
    toy.run("b")
    assert toy.prune(keep=7) == ["Write/.system/executor_execution/3/.temp", "Write/out/3"]
    assert toy.texts("Write/out") == ["a", "b"]


def test_nothing_else_below_the_root_is_touched(toy):
    for text in "ab":
        toy.run(text)
    others = ["Write/out/notes/file", "Write/1", "Write/.hidden/1/file", "notes/out/1/file", "Write/out/99/file"]
    for name in others:
        (toy.root / name).parent.mkdir(parents=True, exist_ok=True)
        (toy.root / name).write_text("mine")
    toy.prune(keep=7)
    assert all((toy.root / name).read_text() == "mine" for name in others)


def test_in_a_copy_of_the_folder_nothing_is_removed_here_or_there(toy, tmp_path):
    for text in "abc":
        toy.run(text)
    copy = shutil.copytree(toy.root, tmp_path / "copy")
    assert retention.prune(str(copy), str(copy / "metadata.sqlite"), "toy", keep=1) == []
    assert (
        toy.texts("Write/out")
        == ["a", "b", "c"]
        == [(path / "file").read_text() for path in sorted((copy / "Write/out").iterdir())]
    )
