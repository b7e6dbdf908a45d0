"""The arguments of a subscription that say how it is told of changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphql import GraphQLArgument, GraphQLEnumType, GraphQLEnumValue

from tycostream.views.pace import SlowPolicy

ON_SLOW = "on_slow"


class PaceArguments:
    """What subscriptions of every source take. One for a schema."""

    def __init__(self) -> None:
        policy = GraphQLEnumType(
            "SlowConsumerPolicy",
            {one.name: GraphQLEnumValue(one, description=one.value) for one in SlowPolicy},
            description="What becomes of changes while a client reads more slowly than they come.",
        )
        self.subscription = {
            ON_SLOW: GraphQLArgument(
                policy,
                description="What becomes of changes while the client reads more slowly than they come; left out: what "
                "the service is set to, which is CONFLATE unless somebody has changed it.",
            )
        }


def slow_policy(arguments: Mapping[str, Any]) -> SlowPolicy | None:
    """What was asked for; None where it is left to the service."""
    policy: SlowPolicy | None = arguments.get(ON_SLOW)
    return policy
