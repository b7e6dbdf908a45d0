"""A Materialize for tests: what psycopg2 and libpq see of it, on a free port, with every fault on command.

Written from what Materialize publishes (its documentation, tests and source; each module names its own), independently of the
service's driver, so that the two check each other.
"""

from tests.support.materialize.behaviour import Behaviour
from tests.support.materialize.server import Simulator, simulating

__all__ = ["Behaviour", "Simulator", "simulating"]
