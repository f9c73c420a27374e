"""For development: one process on one socket, started anew when the code changes."""

import asyncio
import logging
from contextlib import suppress
from pathlib import Path
from typing import Final

from guilder.infra.process.supervisor import Supervisor

LOOK_SECONDS: Final = 0.5
"""Between two looks at the files."""
KINDS: Final = frozenset({".py", ".jinja", ".html", ".css", ".js", ".txt"})
"""What the package is made of; editors write files of other kinds beside it."""

_PACKAGE: Final = Path(__file__).resolve().parents[2]
_log = logging.getLogger(__name__)


class Reloader(Supervisor):
    """Keeps a process running on the newest code until a signal comes.

    One that ends by itself, because of a mistake in the code say, waits for the next change.
    """

    async def _keep(self, number: int) -> None:
        while not self._stop.is_set():
            seen = _versions()
            worker = await self._spawn(number)
            changed = await self._unless_stopped(_changed(seen))
            await self._end(worker)
            if changed:
                _log.info("reloading", extra={"fields": worker.fields | {"changed": changed}})


async def _changed(seen: dict[Path, int]) -> list[str]:
    """Wait for a change below ``guilder/``, and give the names of the files."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if different := _versions().items() ^ seen.items():
            return sorted({str(path.relative_to(_PACKAGE)) for path, _ in different})


def _versions() -> dict[Path, int]:
    """When each file of the package was written last."""
    found = {}
    for path in _PACKAGE.rglob("*"):
        if path.suffix in KINDS:
            with suppress(FileNotFoundError):  # it was there a moment ago
                found[path] = path.stat().st_mtime_ns
    return found
