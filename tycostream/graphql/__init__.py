"""GraphQL: the schema of a catalog, planning of requests, rendering of changes."""

from tycostream.graphql.errors import RequestError, UnavailableError
from tycostream.graphql.limits import Limits
from tycostream.graphql.planning import Engine, SubscriptionPlan
from tycostream.graphql.queries import PreparedQuery, RowReader
from tycostream.graphql.rendering import Field, Selection, event_id
from tycostream.graphql.triggers import TriggerService
from tycostream.model import Operation

__all__ = [
    "Engine",
    "Field",
    "Limits",
    "Operation",
    "PreparedQuery",
    "RequestError",
    "RowReader",
    "Selection",
    "SubscriptionPlan",
    "TriggerService",
    "UnavailableError",
    "event_id",
]
