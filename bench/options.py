"""What one run of the benchmark measures, and for how long."""

from dataclasses import dataclass, field
from pathlib import Path

SECTIONS = ("tpcb", "plain", "single", "bulk", "hot", "reads", "accounts", "growth", "engine")
DATABASES = ("postgresql", "sqlite")


@dataclass(frozen=True)
class Options:
    """The choices of a run; the defaults are the full benchmark."""

    sections: tuple[str, ...] = SECTIONS
    databases: tuple[str, ...] = DATABASES
    seconds: int = 10
    runs: int = 3
    warmup: int = 3
    settle: float = 1.0
    """Seconds before a run, in which what wrk left behind when it stopped is answered."""
    accounts: int = 1000
    logins: int = 16
    connections: tuple[int, ...] = (1, 16, 64, 128)
    batches: tuple[int, ...] = (100, 1000)
    workers: dict[str, tuple[int, ...]] = field(
        default_factory=lambda: {"postgresql": (1, 2), "sqlite": (1,)}
    )
    levels: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    scale: int = 30
    statement_lines: int = 1000
    description: str = "Benchmark"
    threads: int = 1
    folder: Path | None = None
    out: Path | None = None
    quick: bool = False

    def wants(self, *sections: str) -> bool:
        """Tell whether any of these sections is to be run."""
        return any(section in self.sections for section in sections)


def quick(options: dict[str, object]) -> Options:
    """Return a short smoke run: every section, one second each, little history."""
    short: dict[str, object] = {
        "seconds": 1,
        "runs": 1,
        "warmup": 1,
        "settle": 0.5,
        "accounts": 100,
        "logins": 2,
        "connections": (16, 64),
        "batches": (100,),
        "levels": (1000, 3000),
        "scale": 5,
        "statement_lines": 100,
        "quick": True,
    }
    return Options(**(short | options))  # type: ignore[arg-type]
