"""Requests to measure with, of any size: random ones, or of prepared sessions."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from hrlrec_tf.benchmark.workload import CHANNELS
from hrlrec_tf.data import requests as session_requests
from serving.benchmark.plan import CALLS, Plan
from serving.messages import Candidate, Counts, Profile, RankRequest, Row

_NOW = 1_700_000_000_000
_PROFILE_TAGS = 20
_MOST_PER_CHANNEL = 1250  # so that a curve reaches 5,000 candidates of four channels


class Requests:
    """Makes requests of any size.

    Args:
      plan: sizes, and where requests come from.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._drawn: list[RankRequest] = []
        if plan.sessions is not None:
            drawn = session_requests.sample_requests(plan.sessions, count=plan.requests, per_channel=_MOST_PER_CHANNEL)
            self._drawn = [RankRequest.from_dict(request) for request in drawn]

    def make(
        self, count: int, candidates: int | None = None, history: int | None = None, call: str = "rank"
    ) -> list[RankRequest]:
        """The first `count` requests, always the same ones.

        Args:
          candidates, history: how many; by default the plan's. Sessions may hold fewer; their histories are filled up
            with empty rows in front, so that a batching server can join calls.
          call: one of `CALLS`, which may want ids only.
        """
        candidates = self._plan.candidates if candidates is None else candidates
        history = self._plan.history if history is None else history
        make = self._cut if self._drawn else self._random
        made = [make(number, candidates, history) for number in range(count)]
        return ids_only(made) if CALLS[call].ids_only else made

    def _cut(self, number: int, candidates: int, history: int) -> RankRequest:
        drawn = self._drawn[number % len(self._drawn)]
        chosen = np.random.default_rng(number).permutation(len(drawn.candidates))[:candidates]
        missing = [Row("", "")] * max(history - len(drawn.history), 0)
        rows = (*missing, *drawn.history[max(len(drawn.history) - history, 0) :])
        return dataclasses.replace(drawn, candidates=tuple(drawn.candidates[n] for n in chosen), history=rows)

    def _random(self, number: int, candidates: int, history: int) -> RankRequest:
        rng, ids = np.random.default_rng(number), self._plan.workload.ids
        tags = self._plan.workload.sizes["tags"]

        def items(count: int) -> list[dict]:
            numbers = rng.permutation(np.arange(1, max(ids, count + 2)))[:count]
            return [
                {
                    "item_id": str(item),
                    "channel": str(item % len(CHANNELS) + 1),
                    "tags": (str(item % (tags - 2) + 1), str(item * 7 % (tags - 2) + 1)),
                    "features": {"item_author": str(item % 90 + 1)},
                }
                for item in numbers.tolist()
            ]

        rows = [
            Row(
                **item,
                timestamp=_NOW - 60_000 * (history - age),
                position=age % 10 + 1,
                clicks=age % 3 // 2,
                dwell_seconds=float(age),
                channel_impressions=age,
                tag_impressions=age,
            )
            for age, item in enumerate(items(history))
        ]
        profile = Profile(
            {str(n + 1): Counts(40 + n, 3) for n in range(len(CHANNELS))},
            {str(n + 1): Counts(20 + n, 2) for n in range(_PROFILE_TAGS)},
        )
        features = {"user_city": str(number % 90 + 1), "context_device": str(number % 4 + 1)}
        user = str(int(rng.integers(1, ids)))
        return RankRequest(user, _NOW, tuple(Candidate(**item) for item in items(candidates)), rows, profile, features)


def ids_only(requests: Sequence[RankRequest]) -> list[RankRequest]:
    """The requests without what an item catalogue knows of their items."""
    return [
        dataclasses.replace(
            request,
            candidates=[Candidate(candidate.item_id, "") for candidate in request.candidates],
            history=[dataclasses.replace(row, channel="", tags=(), features={}) for row in request.history],
        )
        for request in requests
    ]
