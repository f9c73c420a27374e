"""Password hashes: argon2id in a small pool of threads that refuses when too much waits.

What is hashed is a MAC of the password under the bank's pepper, which no database holds: a stolen
table of hashes cannot be tried offline (NIST SP 800-63B-4, 3.1.1.2). A hash names its pepper, so
that those of older keys go on fitting; it is made anew with the current one at the next login.

Hashes that another system made with bcrypt are still verified, and count as outdated: whoever signs
in with one gets one of ours. Until then a wrong password takes longer to refuse for that user than
for an address without one, since bcrypt is slow: ask them to sign in soon.
"""

import asyncio
import base64
import functools
import hashlib
import hmac
import re
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from typing import Any, Final

import bcrypt
from argon2 import PasswordHasher as Argon2
from argon2.exceptions import InvalidHashError, VerificationError

from guilder.core.errors import Overloaded, Unavailable
from guilder.core.ports import KeyMissing
from guilder.infra.security.keys import DerivedKeys, KeyRing, ring_of
from guilder.infra.security.secrets import derived_key

MEMORY_KIB: Final = 19 * 1024
TIME_COST: Final = 2
THREADS: Final = 2
PEPPERED: Final = "p2."
"""What stands before a hash, followed by ``NAME_DIGITS`` that name its pepper."""
NAME_DIGITS: Final = 16
FIRST_PEPPER: Final = "p1"
"""What stands before a hash from when there was one pepper, made from the signing secret."""
MAX_BCRYPT_BYTES: Final = 72
"""Bytes of a password that bcrypt looks at. Systems that used it dropped the rest, so we do."""
MAX_WAITING: Final = 64
"""About 0.7 s of work for two threads: longer than that nobody should wait for a refusal."""


_BCRYPT: Final = re.compile(r"\$2[aby]\$(0[4-9]|1[0-5])\$[./A-Za-z0-9]{53}")
"""A hash of a cost that somebody may have meant: each step doubles the work, and 15 is a second."""


@functools.cache
def common_passwords() -> frozenset[str]:
    """Some ten thousand passwords that everybody tries first, in lower case."""
    lines = (
        resources.files("guilder.infra.security")
        .joinpath("common_passwords.txt")
        .read_text("ascii")
    )
    return frozenset(line for line in lines.splitlines() if not line.startswith("# "))


class Pepper:
    """A pepper and what stands before the hashes that are made with it."""

    def __init__(self, key: bytes, mark: str | None = None) -> None:
        self._key = derived_key(key, "passwords/pepper")
        self.name = hashlib.sha256(b"guilder pepper" + self._key).hexdigest()[:NAME_DIGITS]
        self.mark = mark or f"{PEPPERED}{self.name}"

    def on(self, password: str) -> bytes:
        """What is hashed instead of the password."""
        return base64.b64encode(hmac.digest(self._key, password.encode(), "sha256"))


class Argon2Passwords:
    """Hashes and checks passwords off the event loop; see ``guilder.core.ports.PasswordHasher``.

    Peppers are made of ``keys``; that of the oldest hashes of all, which do not name theirs, of
    ``first_key``. Hashes of the peppers that ``lost`` names fit no password any more. Raises
    ``Overloaded`` when more than ``max_waiting`` calls are under way.
    """

    def __init__(
        self,
        keys: KeyRing | bytes,
        *,
        first_key: bytes | None = None,
        lost: Collection[str] = (),
        memory_kib: int = MEMORY_KIB,
        time_cost: int = TIME_COST,
        threads: int = THREADS,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._peppers = DerivedKeys(ring_of(keys), Pepper)
        self._first = None if first_key is None else Pepper(first_key, FIRST_PEPPER)
        self._lost = tuple(PEPPERED + name for name in lost)
        self._argon2 = Argon2(time_cost=time_cost, memory_cost=memory_kib, parallelism=1)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="guilder-passwords")
        self._most = threads + max_waiting
        self._under_way = 0
        self._nobodys = self._made("the password of nobody")
        self._nobodys_plain = self._nobodys.removeprefix(self._peppers.current().mark)

    async def hash(self, password: str) -> str:
        """An encoded hash with its own salt and parameters."""
        return await self._apart(lambda: self._made(password))

    async def verify(self, encoded: str | None, password: str, typed: str | None = None) -> bool:
        """Whether the password fits; without a hash does the same work and says no.

        A hash of bcrypt also fits the password as it was ``typed``, which is what was hashed there.
        Raises ``Unavailable`` when the hash names a pepper that is not there.
        """
        fits = await self._apart(lambda: self._fits(encoded or self._nobodys, password, typed))
        return fits and bool(encoded)

    def is_outdated(self, encoded: str) -> bool:
        """Whether it was made by bcrypt, or with another pepper or parameters than today's."""
        mark = self._peppers.current().mark
        return not encoded.startswith(mark) or self._argon2.check_needs_rehash(
            encoded.removeprefix(mark)
        )

    def close(self) -> None:
        """Finish what runs, drop what waits, and end the threads."""
        self._threads.shutdown(cancel_futures=True)

    def _made(self, password: str) -> str:
        pepper = self._peppers.current()
        return pepper.mark + self._argon2.hash(pepper.on(password))

    def _fits(self, encoded: str, password: str, typed: str | None) -> bool:
        if _BCRYPT.fullmatch(encoded):
            forms = dict.fromkeys((password, password if typed is None else typed))
            return any(_fits_bcrypt(encoded, form) for form in forms)
        if not encoded.startswith((PEPPERED, FIRST_PEPPER)):
            return self._holds(encoded, password)
        known = [*self._peppers.all(), *filter(None, [self._first])]
        pepper = next((one for one in known if encoded.startswith(one.mark)), None)
        if pepper is None:
            if not encoded.startswith((FIRST_PEPPER, *self._lost)):
                name = encoded.removeprefix(PEPPERED)[:NAME_DIGITS]
                raise Unavailable from KeyMissing(f"a password names the key {name}")
            self._holds(self._nobodys_plain, password)  # the same work, and no
            return False
        return self._holds(encoded.removeprefix(pepper.mark), pepper.on(password))

    def _holds(self, plain_hash: str, password: str | bytes) -> bool:
        try:
            return self._argon2.verify(plain_hash, password)
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
        return bcrypt.checkpw(password.encode()[:MAX_BCRYPT_BYTES], encoded.encode())
    except ValueError:  # bits in the salt that no hash has
        return False
