"""A process that stands in the queue of writers: ``python -m tests.support.writer FILE WHERE``.

It stops ``first`` in the queue, or ``inside`` a transaction in its turn, says so, and stays.
"""

import signal
import sqlite3
import sys
from pathlib import Path

from guilder.db.write_queue import WriteQueue


def main(file: str, where: str) -> None:
    queue = WriteQueue(Path(file))
    if where == "inside":
        queue.wait()
        connection = sqlite3.connect(file, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
    else:
        next(queue._looks())  # somebody else has the turn
    print(where, flush=True)
    signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
