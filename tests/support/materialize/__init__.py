"""A Materialize for tests: what psycopg2 and libpq see of it, on a free port, with every fault on command.

Written from what Materialize publishes (its documentation, tests and source; each module names its own), independently of the
service's driver, so that the two check each other.

psycopg2's `connection.cancel()` keeps the interpreter's lock until the server has answered: called in the simulator's own process, from
whatever thread, it waits for ever. Cancel with `Simulator.cancel_all`, with `pg_cancel_backend`, or from another process.
"""

from tests.support.materialize.behaviour import Behaviour
from tests.support.materialize.server import Simulator, simulating

__all__ = ["Behaviour", "Simulator", "simulating"]
