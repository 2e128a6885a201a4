"""The versions below a model's base folder: which ones are live, how a newer one takes over.

A version is a folder with an integer name that holds `saved_model.pb`. It is taken once two looks at it found the same
files, so that a folder still being copied is left alone. It is loaded and warmed up beside the live versions and goes
live only when all of that worked; a version that failed is refused until its files change, and the version policy then
falls back to the one before. A live version goes only when every version that the policy wants is live, and is unloaded
when the calls that it is answering have ended.
"""

import contextlib
import dataclasses
import logging
import os
import pathlib
import sys
import threading
from collections.abc import Iterator

import grpc
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus

from hrlrec_tf.errors import ModelError
from serving import memory, saved_model, version_folders
from serving.loaded import ServedVersion
from serving.metrics import Metrics
from serving.model_config import VersionPolicy
from serving.signatures import Refusal
from serving.version_folders import Listing
from serving.version_reports import VersionReports
from serving.watch import Watch

FIRST_LOOKS_SECONDS = 0.2
_REST = 3.0  # see `saved_model.opened`; while other versions answer
_LET_GO_SECONDS = 1.0  # until nobody who used a version refers to it any more

_LOG = logging.getLogger(__name__)
_WORKING = threading.Lock()


@dataclasses.dataclass(eq=False)
class _Slot:
    """A loaded version and the calls that it is answering."""

    version: ServedVersion
    calls: int = 0
    retired: bool = False


@contextlib.contextmanager
def _yielding() -> Iterator[None]:
    """Lets calls take Python's lock from the long work inside after a tenth of the usual wait; one work at a time."""
    with _WORKING:
        interval = sys.getswitchinterval()
        sys.setswitchinterval(interval / 10)
        try:
            yield
        finally:
            sys.setswitchinterval(interval)


class ModelVersions:
    """Keeps the versions below `model_base` live that `policy` wants.

    Args:
      model_base: the folder of version folders.
      poll_seconds: pause between two looks at it; 0 looks only at the start.
      name: what requests call the model.
      policy: which versions serve; the newest good one unless given.
      metrics: where loads and swaps are counted.
    """

    def __init__(
        self,
        model_base: str | os.PathLike[str],
        poll_seconds: float,
        *,
        name: str = "hrlrec",
        policy: VersionPolicy | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.base = pathlib.Path(model_base)
        self.name = name
        self.policy = policy or VersionPolicy()
        self._reports = VersionReports(name, metrics or Metrics())
        self._lock = threading.Lock()  # of the live versions and their calls
        self._refreshing = threading.RLock()
        self._live: dict[int, _Slot] = {}
        self._ready: dict[int, _Slot] = {}  # loaded for a config that has not taken over yet
        self._before: dict[int, Listing] = {}
        self._seen: dict[int, Listing] = {}
        self._refused: dict[int, Listing] = {}
        self._watch = Watch(f"versions-{name}", poll_seconds, self._poll)

    @property
    def live(self) -> ServedVersion:
        """The newest version that answers now."""
        live = self._live
        if not live:
            raise ModelError(f"no version of {self.base} is loaded; call start() first")
        return live[max(live)].version

    @property
    def numbers(self) -> list[int]:
        """The live versions, oldest first."""
        return sorted(self._live)

    @contextlib.contextmanager
    def lease(self, number: int | None = None) -> Iterator[ServedVersion]:
        """A live version, the newest unless stated, that stays loaded for the time of the context.

        Raises:
          Refusal: NOT_FOUND, that version is not live.
        """
        with self._lock:
            slot = self._live.get(max(self._live, default=-1) if number is None else number)
            if slot is None:
                live = ", ".join(map(str, self.numbers)) or "none"
                wanted = f"version {number} of {self.name!r} is not served; served are: {live}"
                raise Refusal(grpc.StatusCode.NOT_FOUND, wanted)
            slot.calls += 1
        try:
            yield slot.version
        finally:
            with self._lock:
                slot.calls -= 1
                ended = slot.retired and not slot.calls
            if ended:  # in a thread of its own: the call that ended has an answer to send
                threading.Thread(target=self._unload, args=(slot.version,), name=f"unload-{self.name}").start()

    def statuses(self) -> list[ModelVersionStatus]:
        """What became of each version seen so far, newest first."""
        return self._reports.statuses()

    def start(self) -> None:
        """Loads what the policy wants, makes it live and begins to watch; raises as `load` does."""
        self.load()
        self.go_live()

    def load(self) -> None:
        """Loads what the policy wants, for `go_live` or `abandon`; raises `ModelError` where nothing can serve."""
        if not self.base.is_dir():
            raise ModelError(f"{self.base}: no such folder; give the folder that `hrlrec export` wrote a version into")
        self._seen = version_folders.look(self.base)
        if not self._seen:
            raise ModelError(
                f"{self.base}: holds no version, a folder named by an integer with {saved_model.FILE} inside; "
                f"write one with `hrlrec export --model DIR --out {self.base}`"
            )
        newest = max(self._present())
        self._watch.wait(FIRST_LOOKS_SECONDS)
        self._make_ready()
        if not self._ready:
            raise self._cannot_serve(newest)

    def report_live(self) -> None:
        """Says anew which versions are live, where another model of the same name has been retired meanwhile."""
        with self._refreshing:
            self._reports.live(self._live)

    def stop(self) -> None:
        """Stops watching; the live versions go on answering."""
        self._watch.stop()

    def refresh(self) -> None:
        """Looks once: takes each wanted version that is complete, loads and warms up; retires what is not wanted."""
        with self._refreshing:
            for version in self._load_wanted():
                self._replace(self._live | {version.number: _Slot(version)})
            self.retire_unwanted()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Keeps its own looks away for the time of the context."""
        with self._refreshing:
            yield

    def adopt(self, policy: VersionPolicy) -> None:
        """Loads what another policy wants, for `go_live` or `abandon`; what is live goes on answering.

        Raises:
          ModelError: the policy names versions of which none is there, or one that cannot be served.
        """
        with self._refreshing:
            self.policy = policy
            self._make_ready()
            self._watch.wait(FIRST_LOOKS_SECONDS)  # a folder is taken at the second look
            self._make_ready()
            for number in self._present() if policy.specific else ():
                if number not in self._live and number not in self._ready:
                    raise self._cannot_serve(number)

    def go_live(self) -> None:
        """What was loaded answers from now on, the other live versions too until `retire_unwanted`."""
        with self._refreshing:
            is_first, ready, self._ready = not self._live, self._ready, {}
            self._replace(self._live | ready)
        if is_first:
            self._watch.start()

    def abandon(self, policy: VersionPolicy) -> None:
        """Gives back what was loaded and has not answered yet; follows `policy` again."""
        with self._refreshing:
            self.policy = policy
            ready, self._ready = self._ready, {}
            for slot in ready.values():
                self._reports.state(slot.version.number, ModelVersionStatus.UNLOADING)
                self._unload(slot.version)

    @property
    def will_live(self) -> set[int]:
        """The versions that are live after `go_live` and `retire_unwanted`."""
        loaded, wanted = {*self._live, *self._ready}, self._wanted()
        return wanted if wanted and wanted <= loaded else loaded

    def retire_all(self) -> None:
        """Stops watching and unloads every version, each when its calls have ended."""
        self.stop()
        with self._refreshing:
            self._replace({})

    def retire_unwanted(self) -> None:
        """The second half of `refresh`: unloads the other versions once every wanted one is live."""
        with self._refreshing:
            wanted = self._wanted()
            if wanted and wanted <= set(self._live):
                self._replace({number: slot for number, slot in self._live.items() if number in wanted})

    def _present(self) -> set[int]:
        """What the policy wants of the versions that are there; raises `ModelError` where that is nothing."""
        wanted = self.policy.wanted(self._seen)
        if not wanted:
            raise ModelError(
                f"{self.base}: holds none of the specific versions {sorted(self.policy.specific or ())} that its "
                f"policy wants; it holds {sorted(self._seen)}"
            )
        return wanted

    def _cannot_serve(self, number: int) -> ModelError:
        reason = self._reports.error(number) or "it is being written"
        return ModelError(f"{self.base / str(number)}: cannot be served: {reason}")

    def _wanted(self) -> set[int]:
        """What the policy wants of the versions that can serve: complete, and not refused as they stand."""
        return self.policy.wanted(
            [
                number
                for number, listing in self._seen.items()
                if number in self._live
                or number in self._ready
                or self._before.get(number) == listing != self._refused.get(number)
            ]
        )

    def _poll(self) -> None:
        try:
            self.refresh()
        except Exception:
            _LOG.exception("cannot look for versions in %s; %s stay", self.base, self.numbers)

    def _make_ready(self) -> None:
        for version in self._load_wanted():
            self._ready[version.number] = _Slot(version)

    def _load_wanted(self) -> Iterator[ServedVersion]:
        """Looks once; loads what the policy wants, one after the other as they are taken."""
        self._before, self._seen = self._seen, version_folders.look(self.base)
        for number in sorted(self._seen, reverse=True):
            # Asked anew each time: a version that was just refused lets the one before it in.
            if number in self._wanted() and number not in self._live and number not in self._ready:
                version = self._loaded(number)
                if version is not None:
                    yield version
                memory.give_back()

    def _loaded(self, number: int) -> ServedVersion | None:
        """A version, warmed up; None where it is refused."""
        self._reports.state(number, ModelVersionStatus.LOADING)
        try:
            with _yielding():
                version = ServedVersion.load(self.base / str(number), rest=_REST if self._live else 0.0)
        except Exception as error:
            self._refused[number] = self._seen[number]
            self._reports.refused(number, " ".join(str(error).split()) or type(error).__name__)
            return None
        self._reports.loaded(version)
        return version

    def _replace(self, live: dict[int, _Slot]) -> None:
        """Makes `live` the versions that answer; the others are unloaded when their calls have ended."""
        with self._lock:
            before, self._live = self._live, live
            retired = [before[number] for number in before.keys() - live.keys()]
            for slot in retired:
                slot.retired = True
                self._reports.state(slot.version.number, ModelVersionStatus.UNLOADING)
            idle = [slot.version for slot in retired if not slot.calls]
        for version in idle:
            self._unload(version)
        self._reports.replaced(before, live)

    def _unload(self, version: ServedVersion) -> None:
        version.close()
        self._reports.ended(version.number)
        _LOG.info("version %d of %s is unloaded", version.number, self.name)
        later = threading.Timer(_LET_GO_SECONDS, memory.give_back)
        later.daemon = True
        later.start()
