"""What bounds a client, an address and the process beyond what a document may ask for."""

from tycostream.limits.backlog import Account, Backlog
from tycostream.limits.near import NearLimits
from tycostream.limits.rate import OperationRate, Verdict

__all__ = ["Account", "Backlog", "NearLimits", "OperationRate", "Verdict"]
