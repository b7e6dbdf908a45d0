"""tycostream turns streaming-SQL views into live GraphQL subscriptions."""

__version__ = "0.2.0"
