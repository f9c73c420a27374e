"""Password hashes: the parameters, the same work for nobody, and a bounded queue."""

import asyncio
import base64
import contextlib
import hmac
import re
import statistics
import time
from collections.abc import AsyncIterator

import bcrypt
import pytest
from argon2 import PasswordHasher as PasswordHasherOfOld

from guilder.core.clock import FixedClock
from guilder.core.errors import Overloaded, Unavailable
from guilder.core.ports import PasswordHasher
from guilder.infra.security.keys import KeyRing
from guilder.infra.security.passwords import (
    NAME_DIGITS,
    PEPPERED,
    Argon2Passwords,
    common_passwords,
)
from guilder.infra.security.secrets import StaticSecrets, derived_key

PEPPER = b"p" * 32


@pytest.fixture
async def passwords() -> AsyncIterator[Argon2Passwords]:
    made = Argon2Passwords(PEPPER, memory_kib=64, time_cost=1)
    yield made
    made.close()


async def test_a_password_fits_its_own_hash_only(passwords: Argon2Passwords) -> None:
    port: PasswordHasher = passwords
    encoded = await port.hash("correct horse battery")
    assert encoded != await port.hash("correct horse battery")
    assert await port.verify(encoded, "correct horse battery")
    assert not await port.verify(encoded, "correct horse batterx")
    assert not await port.verify(None, "the password of nobody")
    assert not await port.verify("no hash at all", "correct horse battery")


async def test_the_parameters_are_those_of_the_policy() -> None:
    made = Argon2Passwords(PEPPER)
    try:
        encoded = await made.hash("x")
        assert re.match(r"p2\.[0-9a-f]{16}\$argon2id\$v=19\$m=19456,t=2,p=1\$", encoded)
        assert not made.is_outdated(encoded)
    finally:
        made.close()


async def test_a_hash_of_other_parameters_is_outdated(passwords: Argon2Passwords) -> None:
    weaker = Argon2Passwords(PEPPER, memory_kib=32, time_cost=1)
    assert passwords.is_outdated(await weaker.hash("x"))
    weaker.close()


async def test_a_stolen_hash_is_of_no_use_without_the_pepper(passwords: Argon2Passwords) -> None:
    encoded = await passwords.hash("correct horse battery")
    thief = Argon2Passwords(b"q" * 32, memory_kib=64, time_cost=1)
    with pytest.raises(Unavailable):
        await thief.verify(encoded, "correct horse battery")
    bare = encoded[encoded.index("$") :]
    assert not await passwords.verify(bare, "correct horse battery")
    assert not await thief.verify(thief._peppers.current().mark + bare, "correct horse battery")
    thief.close()


async def test_a_hash_from_before_the_pepper_fits_and_is_outdated(
    passwords: Argon2Passwords,
) -> None:
    old = PasswordHasherOfOld(memory_cost=64, time_cost=1, parallelism=1).hash("correct horse")
    assert await passwords.verify(old, "correct horse")
    assert not await passwords.verify(old, "correct horsf")
    assert passwords.is_outdated(old)
    assert not passwords.is_outdated(await passwords.hash("correct horse"))


@pytest.mark.parametrize("prefix", ["$2a$", "$2b$", "$2y$"])
async def test_a_hash_of_bcrypt_fits_its_password_and_is_outdated(
    passwords: Argon2Passwords, prefix: str
) -> None:
    made = bcrypt.hashpw("pässword of old".encode(), bcrypt.gensalt(4)).decode()
    old = made.replace("$2b$", prefix)
    assert await passwords.verify(old, "pässword of old")
    assert not await passwords.verify(old, "password of old")
    assert not await passwords.verify(old, "")
    assert passwords.is_outdated(old)


async def test_of_a_long_password_bcrypt_knows_the_first_72_bytes(
    passwords: Argon2Passwords,
) -> None:
    """As the systems had it that made the hashes: the rest was never part of it."""
    long = "ä" * 35 + "xyz" + "and so on"
    old = bcrypt.hashpw(long.encode()[:72], bcrypt.gensalt(4)).decode()
    assert await passwords.verify(old, long)
    assert await passwords.verify(old, long[:37])
    assert not await passwords.verify(old, long[:36])
    assert not await passwords.verify(old, "ä" * 35 + "x!z")
    ours = await passwords.hash(long)  # which knows all of it
    assert not await passwords.verify(ours, long[:37])


@pytest.mark.parametrize(
    "hash_",
    [
        "$2b$04$" + "z" * 53,  # bits in the salt that no hash has
        "$2b$04$" + "." * 52,
        "$2b$04$" + "." * 54,
        "$2x$04$" + "." * 53,
        "$2b$31$" + "." * 53,  # half a day of work
        "$2b$16$" + "." * 53,
        "$2b$03$" + "." * 53,
        "$2b$",
        "",
    ],
)
async def test_what_only_looks_like_a_hash_of_bcrypt_fits_nothing(
    passwords: Argon2Passwords, hash_: str
) -> None:
    begun = time.process_time()
    for password in ("", "x", "correct horse battery"):
        assert not await passwords.verify(hash_, password)
    assert time.process_time() - begun < 2


def peppered(*keys: bytes, first_key: bytes | None = None) -> Argon2Passwords:
    ring = KeyRing("k", StaticSecrets({"k": keys}), FixedClock(0))
    return Argon2Passwords(ring, first_key=first_key, memory_kib=64, time_cost=1)


async def test_passwords_fit_after_a_rotation_and_are_hashed_anew() -> None:
    old, new = b"o" * 32, b"n" * 32
    before, both, after = peppered(old), peppered(new, old), peppered(new)
    encoded = await before.hash("correct horse battery")
    assert await both.verify(encoded, "correct horse battery")
    assert not await both.verify(encoded, "correct horse batterx")
    assert both.is_outdated(encoded)
    with pytest.raises(Unavailable) as refused:  # a right password is not called wrong
        await after.verify(encoded, "correct horse battery")
    assert re.fullmatch("a password names the key [0-9a-f]{16}", str(refused.value.__cause__))
    better = await both.hash("correct horse battery")
    assert not both.is_outdated(better)
    assert await after.verify(better, "correct horse battery")
    for one in (before, both, after):
        one.close()


@pytest.mark.integration  # a pool of threads, and the time it takes
async def test_a_hash_whose_pepper_is_lost_for_good_costs_as_much_as_any() -> None:
    gone = Argon2Passwords(b"o" * 32, threads=1)
    lost = await gone.hash("x")
    name = lost.removeprefix(PEPPERED)[:NAME_DIGITS]
    here = Argon2Passwords(PEPPER, lost=[name], threads=1)
    encoded = await here.hash("x")
    took: dict[str, list[float]] = {lost: [], encoded: []}
    for _ in range(15):
        for one in took:
            start = time.perf_counter()
            assert not await here.verify(one, "x" if one == lost else "y")
            took[one].append(time.perf_counter() - start)
    gone.close()
    here.close()
    assert min(took[lost]) > 0.5 * min(took[encoded])


async def test_a_hash_of_the_first_pepper_fits_and_is_outdated() -> None:
    """As they were made when the pepper came from the signing secret and had no name."""
    signing = b"s" * 32
    seasoned = hmac.digest(derived_key(signing, "passwords/pepper"), b"correct horse", "sha256")
    weak = PasswordHasherOfOld(memory_cost=64, time_cost=1, parallelism=1)
    encoded = "p1" + weak.hash(base64.b64encode(seasoned))
    passwords, without = peppered(PEPPER, first_key=signing), peppered(PEPPER)
    assert await passwords.verify(encoded, "correct horse")
    assert not await passwords.verify(encoded, "correct horsf")
    assert not await without.verify(encoded, "correct horse")
    assert passwords.is_outdated(encoded)
    passwords.close()
    without.close()


@pytest.mark.integration  # a pool of threads, and the time it takes
async def test_nobody_costs_as_much_as_somebody() -> None:
    made = Argon2Passwords(PEPPER, threads=1)
    encoded = await made.hash("x")
    took: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(15):
        for known in took:
            start = time.perf_counter()
            assert not await made.verify(encoded if known else None, "y")
            took[known].append(time.perf_counter() - start)
    made.close()
    assert statistics.median(took[False]) > 0.5 * statistics.median(took[True])


async def test_beyond_the_queue_it_refuses_at_once_and_recovers() -> None:
    made = Argon2Passwords(PEPPER, memory_kib=8 * 1024, threads=1, max_waiting=2)
    outcomes = await asyncio.gather(*(made.hash("x") for _ in range(10)), return_exceptions=True)
    refused = [one for one in outcomes if isinstance(one, Overloaded)]
    assert len(refused) == 7
    assert await made.hash("x")
    made.close()


async def test_those_who_went_away_do_not_fill_the_queue() -> None:
    made = Argon2Passwords(PEPPER, memory_kib=8 * 1024, threads=1, max_waiting=2)
    for _ in range(4):
        gone = [asyncio.create_task(made.hash("x")) for _ in range(3)]
        await asyncio.sleep(0)
        for task in gone:
            task.cancel()
        for task in gone:
            with contextlib.suppress(asyncio.CancelledError):
                await task
    assert await made.hash("x")
    made.close()


def test_the_passwords_that_everybody_tries_first_are_known() -> None:
    common = common_passwords()
    assert len(common) >= 3_000
    assert {"password", "123456", "qwerty", "letmein"} <= common
    assert all(word == word.casefold() for word in common)


async def test_a_hash_of_bcrypt_fits_what_was_typed_before_it_was_normal(
    passwords: Argon2Passwords,
) -> None:
    typed, normal = "\uff50assword of old", "password of old"
    old = bcrypt.hashpw(typed.encode(), bcrypt.gensalt(4)).decode()
    assert await passwords.verify(old, normal, typed)
    assert not await passwords.verify(old, normal)
    ours = await passwords.hash(normal)
    assert await passwords.verify(ours, normal, typed)
    assert not await passwords.verify(ours, "another", normal)  # ours are of the normal form
