"""What the processes of one benchmark agree on: a folder with a plan, and models to serve.

The folder holds `plan.json` and, once built, `served/MODEL/VERSION`.
"""

import dataclasses
import json
import pathlib

from hrlrec_tf import cli
from hrlrec_tf.benchmark import workload
from hrlrec_tf.benchmark.workload import Workload

HRLREC, DEEPFM = "hrlrec", "deepfm"
# The seven fields that a row of every log has (user, hour, weekday, position, item, channel, tags) and these make ten.
COLUMNS = ("user_city", "context_device", "item_author")

_ITEMS = 6000
_FILE = "plan.json"


@dataclasses.dataclass(frozen=True)
class Plan:
    """A benchmark's inputs.

    Attributes:
      sessions: folder of prepared sessions that requests are drawn from; None: random requests.
      quick: tiny sizes.
      candidates: of a request. history: rows of a request.
      requests: distinct requests that calls go round.
    """

    sessions: str | None = None
    quick: bool = False
    candidates: int = 800
    history: int = 41
    requests: int = 64

    @property
    def workload(self) -> Workload:
        """Sizes of a model that is built for the benchmark, the paper's or tiny ones, with `COLUMNS`."""
        # Of so many items nearly all are seen in the random sessions, and so known to the catalogue.
        return dataclasses.replace(workload.QUICK if self.quick else Workload(ids=_ITEMS), columns=COLUMNS)

    def write(self, folder: pathlib.Path) -> None:
        """Writes the plan into `folder`."""
        cli.write_json(folder / _FILE, dataclasses.asdict(self))

    @classmethod
    def read(cls, folder: pathlib.Path) -> "Plan":
        """Inverse of `write`."""
        return cls(**json.loads((folder / _FILE).read_text(encoding="utf-8")))


@dataclasses.dataclass(frozen=True)
class Call:
    """What is called: a signature of a model; `ids_only` where a request names items and nothing else of them."""

    model: str
    signature: str
    ids_only: bool = False


CALLS = {
    "rank": Call(HRLREC, "rank"),
    "rank_ids": Call(HRLREC, "rank_ids", ids_only=True),
    "deepfm": Call(DEEPFM, "score"),
}


def base_of(folder: pathlib.Path, model: str) -> pathlib.Path:
    """The base folder of a model's versions."""
    return folder / "served" / model


def newest_version(base: pathlib.Path) -> pathlib.Path | None:
    """The folder of the newest version below `base`."""
    versions = [folder for folder in base.glob("*") if folder.name.isdecimal() and folder.is_dir()]
    return max(versions, key=lambda folder: int(folder.name), default=None)
