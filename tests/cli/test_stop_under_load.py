"""Stopping under load: whoever has connected is answered, and nobody is cut off."""

import threading
from collections import Counter
from pathlib import Path

import httpx
import pytest

from tests.cli.serving import Running, environment, serving
from tests.support.waiting import LONG, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.heavy]
CLIENTS = 16


class Load:
    """Clients that ask on connections that they keep, until nobody listens any more."""

    def __init__(self, running: Running) -> None:
        self._url = f"{running.base}/health/live"
        self.answers: Counter[int] = Counter()
        self.cut: list[str] = []
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()
        wait_until(lambda: self.answers[200] > 4 * CLIENTS)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(LONG)

    def _ask(self) -> None:
        with httpx.Client(timeout=LONG) as client:
            while True:
                try:
                    self.answers[client.get(self._url).status_code] += 1
                except httpx.ConnectError:
                    return
                except httpx.TransportError as error:
                    self.cut.append(repr(error))
                    return


@pytest.mark.parametrize("workers", ["1", "2"])
def test_no_connection_is_reset_when_a_server_stops(
    sqlite_url: str, tmp_path: Path, workers: str
) -> None:
    values = environment(sqlite_url, tmp_path, RATE_LIMITS="off", LOG_LEVEL="warning")
    with serving(tmp_path, values, "--workers", workers) as running:
        load = Load(running)
        load.start()
        assert running.stop() == 0
        load.join()
    assert load.cut == []
    assert set(load.answers) == {200}
