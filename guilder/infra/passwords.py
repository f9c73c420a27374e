"""Password hashes: argon2id in a small pool of threads that refuses when too much waits.

What is hashed is a MAC of the password under the bank's pepper, which no database holds: a stolen
table of hashes cannot be tried offline (NIST SP 800-63B-4, 3.1.1.2).

Hashes that another system made with bcrypt are still verified, and count as outdated: whoever signs
in with one gets one of ours. Until then a wrong password takes longer to refuse for that user than
for an address without one, since bcrypt is slow: ask them to sign in soon.
"""

import asyncio
import base64
import functools
import hmac
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from typing import Any, Final

import bcrypt
from argon2 import PasswordHasher as Argon2
from argon2.exceptions import InvalidHashError, VerificationError

from guilder.core.errors import Overloaded

MEMORY_KIB: Final = 19 * 1024
TIME_COST: Final = 2
THREADS: Final = 2
PEPPERED: Final = "p1"
"""What stands before a hash that was made with the pepper."""
LONGEST_BCRYPT: Final = 72
"""Bytes of a password that bcrypt looks at. Systems that used it dropped the rest, so we do."""
MAX_WAITING: Final = 64
"""About 0.7 s of work for two threads: longer than that nobody should wait for a refusal."""


_BCRYPT: Final = re.compile(r"\$2[aby]\$(0[4-9]|1[0-5])\$[./A-Za-z0-9]{53}")
"""A hash of a cost that somebody may have meant: each step doubles the work, and 15 is a second."""


@functools.cache
def common_passwords() -> frozenset[str]:
    """Some ten thousand passwords that everybody tries first, in lower case."""
    lines = resources.files("guilder.infra").joinpath("common_passwords.txt").read_text("ascii")
    return frozenset(line for line in lines.splitlines() if not line.startswith("# "))


class Argon2Passwords:
    """Hashes and checks passwords off the event loop; see ``guilder.core.ports.PasswordHasher``.

    Refuses as ``Overloaded`` when more than ``max_waiting`` calls are under way.
    """

    def __init__(
        self,
        pepper: bytes,
        *,
        memory_kib: int = MEMORY_KIB,
        time_cost: int = TIME_COST,
        threads: int = THREADS,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._pepper = pepper
        self._argon2 = Argon2(time_cost=time_cost, memory_cost=memory_kib, parallelism=1)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="guilder-passwords")
        self._most = threads + max_waiting
        self._under_way = 0
        self._nobodys = self._made("the password of nobody")

    async def hash(self, password: str) -> str:
        """An encoded hash with its own salt and parameters."""
        return await self._apart(lambda: self._made(password))

    async def verify(self, encoded: str | None, password: str) -> bool:
        """Whether the password fits; with None does the same work and says no."""
        fits = await self._apart(lambda: self._fits(encoded or self._nobodys, password))
        return fits and encoded is not None

    def is_outdated(self, encoded: str) -> bool:
        """Whether it was made by bcrypt, without the pepper or with parameters of another day."""
        return not encoded.startswith(PEPPERED) or self._argon2.check_needs_rehash(
            encoded.removeprefix(PEPPERED)
        )

    def close(self) -> None:
        """Finish what runs, drop what waits, and end the threads."""
        self._threads.shutdown(cancel_futures=True)

    def _made(self, password: str) -> str:
        return PEPPERED + self._argon2.hash(self._seasoned(password))

    def _seasoned(self, password: str) -> bytes:
        return base64.b64encode(hmac.digest(self._pepper, password.encode(), "sha256"))

    def _fits(self, encoded: str, password: str) -> bool:
        if _BCRYPT.fullmatch(encoded):
            return _fits_bcrypt(encoded, password)
        try:
            if encoded.startswith(PEPPERED):
                return self._argon2.verify(encoded.removeprefix(PEPPERED), self._seasoned(password))
            return self._argon2.verify(encoded, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _apart[T](self, work: Callable[[], T]) -> T:
        if self._under_way >= self._most:
            raise Overloaded()
        self._under_way += 1
        task = asyncio.get_running_loop().run_in_executor(self._threads, work)
        task.add_done_callback(self._done)
        return await task

    def _done(self, task: asyncio.Future[Any]) -> None:
        self._under_way -= 1
        if not task.cancelled():
            task.exception()  # marks it as seen: the caller may have gone


def _fits_bcrypt(encoded: str, password: str) -> bool:
    try:
        return bcrypt.checkpw(password.encode()[:LONGEST_BCRYPT], encoded.encode())
    except ValueError:  # bits in the salt that no hash has
        return False
