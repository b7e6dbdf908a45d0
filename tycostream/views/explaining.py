"""How views are found, in words and figures: for the debug pages."""

from __future__ import annotations

from itertools import islice
from typing import Any

from tycostream.filters import Explanation, Filter
from tycostream.views.views import View, Views


def views_told(views: Views, most: int) -> list[dict[str, Any]]:
    """The oldest views."""
    return [explained(views, view.filter) for view in islice(views, most)]


def explained(views: Views, condition: Filter) -> dict[str, Any]:
    """How the view of a filter is found, who follows it and what it has cost; or would be, where nobody does."""
    view, explanation = views.explain(condition)
    return _told(view, explanation)


def _told(view: View, explanation: Explanation) -> dict[str, Any]:
    return {
        "filter": view.filter.to_json(),
        "index": explanation.index,
        "subscriptions": sum(group.channels.subscribed for group in view.groups.values()),
        "selections": len(view.groups),
        "evaluated": explanation.evaluated,
        "matched": explanation.matched,
    }
