"""TPC-B by pgbench: the C client's ceiling for one database transaction a transfer.

The built-in script updates three rows, reads one and inserts one, in one transaction of seven round
trips with prepared statements. Taken at 8 and 16 clients, before and after the rest of a run; the
best figure counts, so that the comparison is against the machine at its best.
"""

import re
from collections.abc import Callable
from statistics import median
from typing import Any

from bench.cpu import cores_used, middle_of
from bench.options import Options
from bench.postgres import Postgres
from bench.results import Figure

DATABASE = "tpcb"
CLIENTS = (8, 16)


def prepare(server: Postgres, scale: int) -> None:
    """Create and fill pgbench's tables."""
    server.create_database(DATABASE)
    server.run("pgbench", "-i", "-q", "-s", str(scale), DATABASE)
    server.checkpoint()


def run_once(server: Postgres, clients: int, seconds: int) -> dict[str, Any]:
    """Run TPC-B once and return its rate and mean latency."""
    text = server.run(
        "pgbench",
        "-M",
        "prepared",
        "-c",
        str(clients),
        "-j",
        "2",
        "-T",
        str(seconds),
        "-n",
        DATABASE,
    )
    rate = re.search(r"tps = ([0-9.]+)", text)
    latency = re.search(r"latency average = ([0-9.]+) ms", text)
    failed = re.search(r"number of failed transactions: (\d+)", text)
    if rate is None or latency is None:
        raise RuntimeError(f"pgbench said something else: {text}")
    return {
        "rate": float(rate[1]),
        "mean_ms": float(latency[1]),
        "errors": int(failed[1]) if failed else 0,
    }


def measure(
    server: Postgres, options: Options, moment: str, tell: Callable[[str], None]
) -> list[Figure]:
    """Measure TPC-B at each number of clients, alternating, and return the medians."""
    runs: dict[int, list[dict[str, Any]]] = {clients: [] for clients in CLIENTS}
    run_once(server, CLIENTS[-1], options.warmup)
    for number in range(options.runs):
        for clients in CLIENTS:
            tell(f"tpcb {moment}: {clients} clients, run {number + 1}")
            with cores_used({"database": server.pid}) as cores:
                run = run_once(server, clients, options.seconds)
            runs[clients].append(run | {"cpu": cores})
    return [
        Figure(
            section="tpcb",
            name=f"TPC-B, {clients} clients, {moment}",
            database="postgresql",
            connections=clients,
            unit="transactions/s",
            rate=median(run["rate"] for run in found),
            mean_ms=median(run["mean_ms"] for run in found),
            errors=sum(run["errors"] for run in found),
            runs=[run["rate"] for run in found],
            cpu=middle_of([run["cpu"] for run in found]),
        )
        for clients, found in runs.items()
    ]
