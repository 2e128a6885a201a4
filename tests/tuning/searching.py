"""A search whose trials are trained by a function."""

import pathlib
import threading
from collections.abc import Callable

from hrlrec_tf import config
from hrlrec_tf.config import Config
from hrlrec_tf.tuning import search, space_file, trials
from hrlrec_tf.tuning.space import SearchSpace
from hrlrec_tf.tuning.trials import Job, Outcome, TrialRecord

SESSIONS = {"train/a": 3, "validation/a": 1}


class Killed(BaseException):
    """Stands for a kill in the middle of the search."""


class FakeRunner:
    """Gives every trial the AUC that a function of its settings says."""

    def __init__(self, auc: Callable[[Config], float], together: int = 1) -> None:
        """`together`: trials that must have begun before one may end."""
        self.auc = auc
        self.jobs: list[Job] = []
        self.closed = False
        self._barrier = threading.Barrier(together)

    def __call__(self, folder: pathlib.Path) -> Outcome:
        job = trials.read_job(folder)
        self.jobs.append(job)
        self._barrier.wait(timeout=10)
        settings = config.preset(job.preset).override(job.settings)
        auc = self.auc(settings)
        return Outcome("completed", (auc,), epochs=settings.training.epochs, seconds=1.5)

    def close(self) -> None:
        self.closed = True


def load(folder: pathlib.Path, text: str) -> SearchSpace:
    """A space file of this text."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "space.yaml"
    file.write_text(text, encoding="utf-8")
    return space_file.load(file)


def run(folder: pathlib.Path, text: str, runner: search.Runner, parallel: int = 1) -> list[TrialRecord]:
    """One search, or the rest of one, in `folder / "out"`."""
    wanted = load(folder, text)
    search.open_folder(folder / "out", wanted, "hrl-rec", SESSIONS)
    return search.Search(folder / "out", wanted, "sessions", "hrl-rec", runner, parallel).run(progress=False)
