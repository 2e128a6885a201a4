"""Users' states as typed parts of requests.

states = UserStateFile("states.jsonl")          # of `hrlrec user-states`
client.rank(states["u1"].request(now, candidates))
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from serving.messages import Candidate, Profile, RankRequest, RequestError, Row, Value


@dataclasses.dataclass(frozen=True)
class UserState:
    """What is known of a user before a time; it holds until the user is shown something more.

    Attributes:
      user_id: the user.
      timestamp: ms UTC; what came strictly before is known.
      history, profile: as in `RankRequest`.
    """

    user_id: str
    timestamp: int
    history: Sequence[Row] = ()
    profile: Profile = dataclasses.field(default_factory=Profile)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "UserState":
        """Builds a state of its JSON form, as `hrlrec_tf.data.user_states` makes it; raises `RequestError`."""
        request = RankRequest.from_dict({**raw, "candidates": []})
        return cls(request.user_id, request.timestamp, request.history, request.profile)

    def request(
        self,
        timestamp: int,
        candidates: Sequence[Candidate] = (),
        features: Mapping[str, Value] | None = None,
        epsilon: float = 0.0,
        request_id: str = "",
    ) -> RankRequest:
        """A request of this user; arguments are `RankRequest`'s.

        Raises:
          RequestError: the request's time is earlier than the state's, which may know more than it should.
        """
        if timestamp < self.timestamp:
            raise RequestError(
                f"the state of user {self.user_id!r} is as of {self.timestamp}, later than its request of {timestamp}; "
                "take a state of an earlier time"
            )
        return RankRequest(
            self.user_id, timestamp, candidates, self.history, self.profile, features or {}, epsilon, request_id
        )


class UserStateFile(Mapping[str, UserState]):
    """The states that `hrlrec user-states` wrote, by user id; only places in the file are kept in memory.

    Args:
      path: the file, which must not change.

    Raises:
      RequestError: the file cannot be read, or a line is no state; the message names the line.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = pathlib.Path(path)
        self._places: dict[str, int] = {}
        try:
            with self._path.open("rb") as file:
                place = 0
                for number, line in enumerate(file, 1):
                    self._places[self._parsed(line, f"line {number}")["user_id"]] = place
                    place += len(line)
        except OSError as error:
            raise RequestError(
                f"{path}: cannot be read ({error.strerror}); give a file of `hrlrec user-states`"
            ) from error

    def __getitem__(self, user_id: str) -> UserState:
        with self._path.open("rb") as file:
            file.seek(self._places[user_id])
            return UserState.from_dict(self._parsed(file.readline(), f"user {user_id!r}"))

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def _parsed(self, line: bytes, where: str) -> Mapping[str, Any]:
        try:
            record = json.loads(line)
            if isinstance(record["user_id"], str):
                return record
        except (ValueError, KeyError, TypeError):
            pass
        raise RequestError(f"{self._path}, {where}: is no user's state; write the file anew with `hrlrec user-states`")
