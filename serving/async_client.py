"""The ranking client for asyncio.

async with AsyncRankingClient("localhost:8500") as client:
    response = await client.rank(request)
"""

import asyncio
import types
from collections.abc import Sequence
from typing import Any

import grpc
import grpc.aio

from serving import client_calls
from serving.batches import RECOMMEND, Batch, Labels, in_order
from serving.client import Client
from serving.client_calls import Call, Pause, Result, Steps
from serving.messages import RankRequest, RankResponse


class AsyncRankingClient(Client):
    """`RankingClient` whose methods are awaited; make it inside the event loop that uses it. Arguments are the same."""

    _transport = grpc.aio

    async def __aenter__(self) -> "AsyncRankingClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection."""
        await self._channel.close()

    async def rank(
        self,
        request: RankRequest,
        *,
        deadline_seconds: float | None = None,
        version: int | None = None,
        version_label: Labels = None,
    ) -> RankResponse:
        """See `RankingClient.rank`."""
        (batch,) = self._calls.versions.batches([request], 1, version, version_label)
        return (await self._do(self._calls.rank(batch, deadline_seconds)))[0]

    async def rank_many(
        self,
        requests: Sequence[RankRequest],
        *,
        batch_size: int = client_calls.BATCH_SIZE,
        in_flight: int = client_calls.IN_FLIGHT,
        deadline_seconds: float | None = None,
        version: int | None = None,
        version_label: Labels = None,
    ) -> list[RankResponse]:
        """See `RankingClient.rank_many`."""
        batches = self._calls.versions.batches(requests, batch_size, version, version_label)
        slots = asyncio.Semaphore(max(in_flight, 1))

        async def rank(batch: Batch) -> list[RankResponse]:
            async with slots:
                return await self._do(self._calls.rank(batch, deadline_seconds))

        ranking = [asyncio.ensure_future(rank(batch)) for batch in batches]
        try:
            return in_order(batches, await asyncio.gather(*ranking))
        finally:
            for answer in ranking:
                answer.cancel()

    async def recommend(
        self,
        request: RankRequest,
        *,
        deadline_seconds: float | None = None,
        version: int | None = None,
        version_label: Labels = None,
    ) -> RankResponse:
        """See `RankingClient.recommend`."""
        (batch,) = self._calls.versions.batches([request], 1, version, version_label, RECOMMEND)
        return (await self._do(self._calls.rank(batch, deadline_seconds)))[0]

    async def score(
        self,
        request: RankRequest,
        *,
        deadline_seconds: float | None = None,
        version: int | None = None,
        version_label: Labels = None,
    ) -> list[float]:
        """See `RankingClient.score`."""
        target = self._calls.versions.target_of(request.user_id, version, version_label)
        return await self._do(self._calls.score(request, target, deadline_seconds))

    async def _do(self, steps: Steps[Result]) -> Result:
        """Does the steps, one after the other, and returns the answer."""
        try:
            step = next(steps)
            while True:
                try:
                    result = await self._do_one(step)
                except grpc.RpcError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(result)
        except StopIteration as done:
            return done.value

    async def _do_one(self, step: Call | Pause | client_calls.Work) -> Any:
        if isinstance(step, Call):
            return await self._methods[step.method](step.request, timeout=step.timeout, metadata=step.metadata)
        if isinstance(step, Pause):
            return await asyncio.sleep(step.seconds)
        return await asyncio.to_thread(step.run)
