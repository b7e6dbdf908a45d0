"""What `/metrics` tells: the table of families, the counts that parts keep for it, and how all processes' are joined.

Parts count in plain numbers; everything of the Prometheus client library is made when somebody asks.
"""

from tycostream.metrics.clients import ClientCounts
from tycostream.metrics.exposition import Told, exposition
from tycostream.metrics.loop_delay import LoopDelay
from tycostream.metrics.samples import Sample, sample

__all__ = ["ClientCounts", "LoopDelay", "Sample", "Told", "exposition", "sample"]
