"""Error lines about what may happen thousands of times a second: one of a kind in ten seconds."""

import logging
import threading
from time import monotonic
from typing import Final

EVERY_SECONDS: Final = 10.0


class SparseLog:
    """Logs the first error of a kind at once, and later ones at most every ``every_seconds``.

    A line says how many like it were left out since the one before (``left_out``).
    """

    def __init__(self, logger: logging.Logger, every_seconds: float = EVERY_SECONDS) -> None:
        self._logger = logger
        self._every_seconds = every_seconds
        self._told: dict[tuple[str, str], tuple[float, int]] = {}
        self._lock = threading.Lock()

    def tell(self, event: str, cause: str, **fields: object) -> None:
        """Log that ``event`` happened because of ``cause``; both together are the kind."""
        now = monotonic()
        with self._lock:
            told_at, left_out = self._told.get((event, cause), (now - self._every_seconds, 0))
            if now - told_at < self._every_seconds:
                self._told[event, cause] = told_at, left_out + 1
                return
            self._told[event, cause] = now, 0
        fields = {"cause": cause, **fields, **({"left_out": left_out} if left_out else {})}
        self._logger.error(event, extra={"fields": fields})
