"""Where-expressions: read (parse.py), normalised (tree.py), compiled (compile.py), indexed by what they admit
(index.py) and by what may change their truth (crossings.py). Both indexes file conditions by their guards (guards.py)
and find bounds alike (bounds.py).

`operators.py` is the one table of operators, `values.py` says how each type compares, and so how rows sort (ranks.py)
and are found by their key (lookup.py).
"""

from tycostream.filters.crossings import CrossingIndex
from tycostream.filters.errors import FilterError, dotted
from tycostream.filters.filter import Filter, parse_filter
from tycostream.filters.index import Explanation, FilterIndex
from tycostream.filters.lookup import KeyLookup, key_lookup
from tycostream.filters.operators import OPERATORS, Operand, Operator
from tycostream.filters.ranks import Rank, ranker

__all__ = [
    "OPERATORS",
    "CrossingIndex",
    "Explanation",
    "Filter",
    "FilterError",
    "FilterIndex",
    "KeyLookup",
    "Operand",
    "Operator",
    "Rank",
    "dotted",
    "key_lookup",
    "parse_filter",
    "ranker",
]
