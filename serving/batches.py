"""Which requests go into one call: those of one signature and one version, at most so many, and back into order."""

import dataclasses
import uuid
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from hrlrec_tf.errors import ConfigError
from serving.messages import RankRequest, RankResponse

RANK = "rank"
RANK_IDS = "rank_ids"
RECOMMEND = "recommend"
SCORE = "score"

# A version's label, or what gives a user's.
Labels: TypeAlias = str | Callable[[str], str] | None


@dataclasses.dataclass(frozen=True)
class Target:
    """Which version answers: the newest, one by number, or one by label."""

    version: int | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        if self.version is not None and self.label is not None:
            raise ConfigError("a call names a version or a version label; give one of both")

    def name_in(self, spec: Any) -> None:
        """Writes it into a ModelSpec."""
        if self.version is not None:
            spec.version.value = self.version
        elif self.label is not None:
            spec.version_label = self.label


@dataclasses.dataclass(frozen=True)
class Batch:
    """Requests that one call carries.

    Attributes:
      signature, target: what is called.
      numbers: places of the requests among all that the caller gave.
      requests: each with a `request_id`.
      total: how many the caller gave.
    """

    signature: str
    target: Target
    numbers: Sequence[int]
    requests: Sequence[RankRequest]
    total: int = 1

    def __getitem__(self, part: slice) -> "Batch":
        return dataclasses.replace(self, numbers=self.numbers[part], requests=self.requests[part])


@dataclasses.dataclass(frozen=True)
class Versions:
    """Which version a client's calls are answered by, where they do not say so themselves."""

    version: int | None = None
    label: Labels = None

    def __post_init__(self) -> None:
        Target(self.version, None if self.label is None else str(self.label))

    def target_of(self, user_id: str, version: int | None, label: Labels) -> Target:
        """The version that answers a user, by a call's own choice or else the client's."""
        if version is None and label is None:
            version, label = self.version, self.label
        return Target(version, label(user_id) if callable(label) else label)

    def batches(
        self,
        requests: Sequence[RankRequest],
        batch_size: int,
        version: int | None = None,
        label: Labels = None,
        signature: str | None = None,
    ) -> list[Batch]:
        """The calls that several requests make; a call has one signature and one version."""
        if batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1: got {batch_size}")
        groups: dict[tuple[str, Target], list[int]] = {}
        for number, request in enumerate(requests):
            name = signature or (RANK_IDS if request.is_id_only else RANK)
            groups.setdefault((name, self.target_of(request.user_id, version, label)), []).append(number)
        return [
            Batch(name, target, part, [named(requests[number]) for number in part], len(requests))
            for (name, target), numbers in groups.items()
            for part in (numbers[start : start + batch_size] for start in range(0, len(numbers), batch_size))
        ]


def in_order(batches: Sequence[Batch], answers: Sequence[list[RankResponse]]) -> list[RankResponse]:
    """The responses in the order of the requests."""
    numbered = {
        number: response
        for batch, responses in zip(batches, answers, strict=True)
        for number, response in zip(batch.numbers, responses, strict=True)
    }
    return [numbered[number] for number in range(len(numbered))]


def named(request: RankRequest) -> RankRequest:
    """The request with a name, a new one where it has none."""
    return request if request.request_id else dataclasses.replace(request, request_id=uuid.uuid4().hex)
