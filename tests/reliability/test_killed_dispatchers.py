"""Dispatchers that fail at random and are killed between any two steps: none lost, all in order."""

import asyncio
import random
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from guilder.core.clock import SystemClock
from tests.infra.dispatch import Mailed, Office, Told, Unheard
from tests.support.sizes import SEED, of, sizes, sqlite_in_ci, tell
from tests.support.waiting import LONG

ROOT = Path(__file__).resolve().parents[2]
STREAMS = 8


@dataclass(frozen=True)
class Size:
    events: int
    processes: int
    seconds: float


SMALL = Size(events=100, processes=2, seconds=LONG)
FULL = Size(events=5_000, processes=4, seconds=1_800)


class Crew:
    """Processes that deliver; whoever has died has a successor."""

    def __init__(self, url: str, file: Path, size: int) -> None:
        self._arguments = [url, str(file)]
        self._born = 0
        self.deaths = 0
        self._processes = [self._new() for _ in range(size)]

    def _new(self) -> subprocess.Popen[bytes]:
        self._born += 1
        command = [sys.executable, "-m", "tests.support.deliverer", *self._arguments]
        return subprocess.Popen([*command, f"{SEED} {self._born}"], cwd=ROOT)

    def replace_the_dead(self) -> None:
        for index, process in enumerate(self._processes):
            if process.poll() is not None:
                assert process.returncode == -9, "it ended by itself"
                self.deaths += 1
                self._processes[index] = self._new()

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait(LONG)


async def pending(office: Office) -> int:
    return sum(row.state == "pending" for row in await office.rows())


async def events_told(office: Office, count: int) -> dict[tuple[str, str], list[int]]:
    """Record events in several streams, some in one transaction; gives what each has to get."""
    draw = random.Random(SEED)
    wanted: dict[tuple[str, str], list[int]] = {}
    number = 0
    while number < count:
        events: list[Told] = []
        for _ in range(draw.randint(1, 4)):
            number += 1
            kind = draw.choice([Told, Told, Mailed, Unheard])
            events.append(kind(f"s{draw.randrange(STREAMS)}", number))
        await office.tell(*events)
        for event in events:
            for name in office.routes.get(event.type, ()):
                wanted.setdefault((name, event.stream), []).append(event.number)
    return wanted


@sqlite_in_ci
@sizes(SMALL, FULL)
@pytest.mark.heavy
async def test_every_event_arrives_in_order_though_dispatchers_die(
    database_url: str, tmp_path: Path, size: Size
) -> None:
    office = Office(database_url, SystemClock())
    file = tmp_path / "arrived"
    crew = Crew(database_url, file, size.processes)
    try:
        wanted = await events_told(office, size.events)
        async with asyncio.timeout(size.seconds):
            while await pending(office):
                crew.replace_the_dead()
                await asyncio.sleep(0.05)
    finally:
        crew.close()
        await office.close()
    lines = [line.split() for line in file.read_text().splitlines()]
    got: dict[tuple[str, str], list[int]] = {}
    for subscriber, stream, number, _key in lines:
        got.setdefault((subscriber, stream), []).append(int(number))
    lost = sum(len(set(numbers) - set(got.get(at, []))) for at, numbers in wanted.items())
    disordered = [at for at, numbers in got.items() if numbers != sorted(numbers)]
    repeated = len(lines) - sum(map(len, wanted.values()))
    tell(
        "killed dispatchers", kills=crew.deaths, lost=of(lost, sum(map(len, wanted.values()))),
        disordered=of(len(disordered), len(got)), repeated=repeated,
    )  # fmt: skip
    assert lost == 0
    assert disordered == []
    assert {at: sorted(set(numbers)) for at, numbers in got.items()} == wanted
    assert crew.deaths > 0
    assert repeated <= crew.deaths * 8
    keys = Counter((line[0], line[2], line[3]) for line in lines)
    assert len(keys) == len({key for _, _, key in keys}) == sum(map(len, wanted.values()))
