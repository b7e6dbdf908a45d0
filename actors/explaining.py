"""Asks sources how they find the views that a change concerns."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pykka
from pykka import ActorRef

from actors.source_messages import ExplainFilter, ListViews, interrupted, place_of
from tycostream.graphql import SubscriptionPlan

ANSWER_SECONDS = 2.0


class Explainer:
    """See `web.debug_views`."""

    def __init__(self, directory: Mapping[tuple[str, str], ActorRef[Any]]) -> None:
        self._directory = directory

    async def views(self, source: str | None) -> dict[str, Any]:
        """The views of every source, or of one."""
        asked = [name for kind, name in self._directory if kind == "source" and source in (None, name)]
        answers = await asyncio.gather(*(self._ask(("source", name), ListViews()) for name in asked))
        return dict(zip(asked, answers, strict=True))

    async def subscription(self, plan: SubscriptionPlan) -> dict[str, Any]:
        """How the subscription's view is found, and what it has cost."""
        answer = await self._ask(place_of(plan.source), ExplainFilter(plan.filter, plan.derivation))
        return {"source": plan.source.name, **answer}

    async def _ask(self, place: tuple[str, str], question: ListViews | ExplainFilter) -> dict[str, Any]:
        ref = self._directory.get(place)
        try:
            if ref is None:
                return {"error": interrupted(place[1])}
            answer: dict[str, Any] = await asyncio.wait_for(_reply(ref, question), ANSWER_SECONDS)
        except (TimeoutError, pykka.ActorDeadError) as error:
            return {"error": f"no answer: {type(error).__name__}"}
        return answer


async def _reply(ref: ActorRef[Any], question: ListViews | ExplainFilter) -> Any:
    return await ref.ask(question, block=False)
