"""What a ranking request says of its user: history and profile, by the definitions of the sessions.

A state is in the form of a request file: `user_id`, `timestamp` (known is what came strictly before), `history` (the
newest H impressions, oldest first, with feedback and as-of counts) and `profile` (counts by channel and tag, at most
512 each). It holds for every request from then on until the user is shown something more.

`export` writes the states of a log's users, partition after partition; `UserStates` keeps rows in memory, takes more of
them at any time and answers for any time. Both let `SessionEncoder` do the work, as the Beam job does.
"""

import json
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems

from hrlrec_tf import features
from hrlrec_tf.data import lists, mending, sessions
from hrlrec_tf.data.bucket_result import BucketResult
from hrlrec_tf.data.config import KINDS, DatasetConfig
from hrlrec_tf.data.examples import SessionEncoder
from hrlrec_tf.data.files import RawBatch
from hrlrec_tf.data.lists import Lists
from hrlrec_tf.data.session_stage import MakeSessions, make_lists
from hrlrec_tf.data.timecut import Cuts
from hrlrec_tf.data.validation import Layout, Rejection, Validator
from hrlrec_tf.errors import ConfigError, LogError
from hrlrec_tf.features import FeatureSpec, says_something

State = dict[str, Any]

_NO_CUTS = Cuts(validation_from=0, eval_from=0)
_CHUNK_USERS = 1024


class UserStates:
    """States of users whose rows are kept in memory.

    Args:
      spec: the features of the model's sessions (`schema.pbtxt` of its data).
      dataset: how rows are to be read: the log's configuration, without joins.

    Raises:
      ConfigError: the features hold item counts, which no user's rows tell.
    """

    def __init__(self, spec: FeatureSpec, dataset: DatasetConfig | None = None) -> None:
        counted = sorted(set(spec.optional) & set(features.ITEM_COUNTS))
        if counted:
            raise ConfigError(f"{counted[0]} counts all users' feedback; export states with `hrlrec user-states`")
        self._spec, self._dataset = spec, dataset or DatasetConfig()
        self._validate = Validator(self._dataset, Layout((*KINDS, *spec.optional), spec.optional), {})
        self._rows: dict[str, pa.Table] = {}

    def update(self, rows: pa.Table) -> Sequence[Rejection]:
        """Adds rows of a log, in any order; a row of a request and position that is there already changes nothing, but
        counts for `bots` unless `deduplicate` drops it first, as in the sessions.

        What only a whole log tells is left to its owner: requests that two users share.

        Returns:
          The rows that break a rule, which are not added.
        """
        checked = self._validate(RawBatch(rows, np.arange(1, len(rows) + 1)))
        users = lists.encode(checked.rows["user_id"])
        order = np.argsort(users.codes, kind="stable")
        starts = np.searchsorted(users.codes[order], np.arange(len(users.words) + 1))
        for code, user in enumerate(users.words.to_pylist()):
            own = checked.rows.take(pa.array(order[starts[code] : starts[code + 1]]))
            known = [self._rows[user]] if user in self._rows else []
            self._rows[user] = pa.concat_tables([*known, own]).combine_chunks()
        return checked.rejected

    def at(self, user_id: str, timestamp: int) -> State:
        """The state of one user before a time (ms UTC); one without rows has an empty one."""
        return self.all_at([user_id], [timestamp])[0]

    def all_at(self, users: Sequence[str], timestamps: Sequence[int]) -> list[State]:
        """The states of some users, each before its time; a user may be asked for several times."""
        tables = [self._rows[user] for user in dict.fromkeys(users) if user in self._rows]
        states = [_state(user, time, (), {}) for user, time in zip(users, timestamps, strict=True)]
        if not tables:
            return states
        table = mending.mended(lists.in_total_order(pa.concat_tables(tables).combine_chunks()), self._dataset)
        with_rows = set(lists.encode(table["user_id"]).words.to_pylist())
        known = [n for n, user in enumerate(users) if user in with_rows]
        if known:
            table, displayed = make_lists(table, self._dataset)
            delay_ms = round(self._dataset.feedback_delay_seconds * 1000)
            encoder = SessionEncoder(self._spec, table, displayed, _NO_CUTS, delay_ms)
            made = _states(encoder, self._spec, [users[n] for n in known], [timestamps[n] for n in known])
            for n, state in zip(known, made, strict=True):
                states[n] = state
        return states


class MakeStates(MakeSessions):
    """Bucket -> a file of its users' states.

    Args:
      plan_path: where the plan lies. timestamp: ms UTC, what came before is known.
    """

    def __init__(self, plan_path: str, timestamp: int) -> None:
        super().__init__(plan_path)
        self._timestamp = timestamp

    def write(self, encoder: SessionEncoder, table: pa.Table, displayed: Lists, bucket: int) -> BucketResult:
        """Writes the states of a bucket's users, ascending by id, and counts."""
        users = lists.encode(table["user_id"]).words.to_pylist()
        path = pathlib.Path(self._plan.out, f"{bucket:05d}.jsonl")
        with path.open("w", encoding="utf-8") as file:
            for start in range(0, len(users), _CHUNK_USERS):
                part = users[start : start + _CHUNK_USERS]
                for state in _states(encoder, self._plan.spec, part, [self._timestamp] * len(part)):
                    file.write(json.dumps(state, ensure_ascii=False, separators=(",", ":")) + "\n")
        return BucketResult(accepted=len(table), users=len(users))


def export(
    dataset: DatasetConfig, out: str, timestamp: int, beam_args: Sequence[str] = (), show_progress: bool = True
) -> dict[str, Any]:
    """Writes the states of all users of a log: JSON lines, one user each.

    Args:
      dataset: the log.
      out: the file to make; it appears complete and replaces an earlier one.
      timestamp: ms UTC; what came strictly before (minus the log's feedback delay) is known.
      beam_args, show_progress: as `prepare`'s.

    Returns:
      `users`, `accepted` and `rejected` rows.

    Raises:
      ConfigError: a setting is wrong.
      LogError: the log cannot be used, or the disk refuses the output.
    """
    target = pathlib.Path(os.path.abspath(out))
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        states, work = (FileSystems.join(str(partial), name) for name in ("states", "work"))
        prepared = sessions.prepare_rows(dataset, states, work, beam_args, show_progress)
        made = sessions.make(prepared, MakeStates(prepared.plan_path, timestamp), "states", show_progress)
        whole = partial / "whole.jsonl"
        with whole.open("wb") as file:
            for part in sorted(pathlib.Path(states).glob("*.jsonl")):
                file.write(part.read_bytes())
        whole.replace(target)
    except OSError as error:
        raise LogError(f"cannot write states to {target} ({error}); free space or name another --out") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    rejected = prepared.read.rejected + made.rejected
    return {"users": made.users, "accepted": made.accepted, "rejected": rejected.total()}


def _states(
    encoder: SessionEncoder, spec: FeatureSpec, users: Sequence[str], timestamps: Sequence[int]
) -> Iterator[State]:
    known = encoder.known(pa.array(users), np.array(timestamps))
    columns = {name: values.to_pylist() for name, values in known.items()}
    for n, (user, timestamp) in enumerate(zip(users, timestamps, strict=True)):
        profile = {level: _counts({name: columns[name][n] for name in columns}, level) for level in ("channel", "tag")}
        yield _state(
            user, timestamp, list(_rows(spec, {name: columns[name][n] for name in spec.history_rows})), profile
        )


def _state(user: str, timestamp: int, history: Sequence[State], profile: Mapping[str, Any]) -> State:
    return {
        "user_id": user,
        "timestamp": timestamp,
        "history": list(history),
        "profile": {"channels": profile.get("channel", {}), "tags": profile.get("tag", {})},
    }


def _rows(spec: FeatureSpec, columns: Mapping[str, Sequence[Any]]) -> Iterator[State]:
    """The real rows of a history as a request file has them: absent values, which read as "" or 0 anyway, left out."""
    named = {name.removeprefix(features.HISTORY): values for name, values in columns.items()}
    tags = named.pop("tags")
    for n, item in enumerate(named["item_id"]):
        if item:
            row = {name: values[n] for name, values in named.items() if says_something(name, values[n])}
            own = [tag for tag in tags[n * spec.max_tags : (n + 1) * spec.max_tags] if tag]
            yield row | ({"tags": own} if own else {})


def _counts(columns: Mapping[str, Sequence[Any]], level: str) -> dict[str, dict[str, int]]:
    names = (f"profile_{level}", f"profile_{level}_impressions", f"profile_{level}_clicks")
    entries = zip(*(columns[name] for name in names), strict=True)
    return {key: {"impressions": impressions, "clicks": clicks} for key, impressions, clicks in entries}
