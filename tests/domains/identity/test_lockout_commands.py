"""Wrong passwords: counted, bounded, and no weapon against the owner."""

import asyncio

import pytest

from guilder.core.actor import Actor
from guilder.core.clock import FixedClock
from guilder.core.permissions import Role
from guilder.db.engine import Database
from guilder.db.run import Runner
from guilder.domains.identity.commands.lockout import CountFailure, count_failure
from guilder.domains.identity.errors import AccountLocked, InvalidCredentials, WrongPassword
from guilder.domains.identity.models import users
from guilder.domains.identity.rules.lockout import failures_key
from guilder.domains.identity.services.authentication import AuthenticationService
from guilder.infra.security.passwords import Argon2Passwords
from tests.db import owner
from tests.domains.identity.doors import SECRET, gate_of
from tests.support.constants import CALLER, EMAIL, PASSWORD, STRANGER


class Passwords(Argon2Passwords):
    """Real and cheap hashes, and how many were compared."""

    def __init__(self) -> None:
        super().__init__(SECRET, memory_kib=64, time_cost=1)
        self.tried = 0

    async def verify(self, encoded: str | None, password: str) -> bool:
        self.tried += 1
        return await super().verify(encoded, password)


@pytest.fixture
def passwords() -> Passwords:
    return Passwords()


@pytest.fixture
def auth(runner: Runner, passwords: Passwords, clock: FixedClock) -> AuthenticationService:
    return gate_of(runner, clock, passwords)


@pytest.fixture(autouse=True)
async def ada(auth: AuthenticationService) -> Actor:
    signed_in = await auth.sign_up(EMAIL, PASSWORD, None, CALLER, "Browser")
    return Actor(signed_in.user.id, Role.USER, session_id=signed_in.session.id)


async def fail(
    auth: AuthenticationService, times: int, email: str = EMAIL, actor: Actor = STRANGER
) -> None:
    for _ in range(times):
        with pytest.raises(InvalidCredentials):
            await auth.log_in(email, "wrong horse battery", actor, "Robot")


@pytest.mark.parametrize("email", [EMAIL, "ADA@Example.test", "nobody@b.test"])
async def test_five_wrong_passwords_lock_for_fifteen_minutes(
    auth: AuthenticationService, clock: FixedClock, passwords: Passwords, email: str
) -> None:
    await fail(auth, 5, email)
    tried = passwords.tried
    for password in (PASSWORD, "wrong horse battery"):  # the answer tells nothing about either
        with pytest.raises(AccountLocked) as refused:
            await auth.log_in(email, password, STRANGER, "Robot")
        assert refused.value.retry_after_seconds == 900
    assert passwords.tried == tried
    clock.advance(seconds=899)
    with pytest.raises(AccountLocked):
        await auth.log_in(email, PASSWORD, STRANGER, "Robot")
    clock.advance(seconds=1)
    await fail(auth, 1, email)
    if email != "nobody@b.test":
        await auth.log_in(email, PASSWORD, STRANGER, "Robot")


async def test_a_strangers_guesses_do_not_lock_the_owner_out(auth: AuthenticationService) -> None:
    await fail(auth, 5)
    with pytest.raises(AccountLocked):
        await auth.log_in(EMAIL, PASSWORD, STRANGER, "Robot")
    await auth.log_in(EMAIL, PASSWORD, CALLER, "Browser")
    with pytest.raises(AccountLocked):  # neither address nor device alone is known
        await auth.log_in(EMAIL, PASSWORD, CALLER, "Robot")
    with pytest.raises(AccountLocked):
        await auth.log_in(EMAIL, PASSWORD, STRANGER, "Browser")


async def test_a_known_device_is_locked_by_its_own_guesses_alone(
    auth: AuthenticationService,
) -> None:
    for _ in range(5):
        with pytest.raises(InvalidCredentials):
            await auth.log_in(EMAIL, "wrong horse battery", CALLER, "Browser")
    with pytest.raises(AccountLocked):
        await auth.log_in(EMAIL, PASSWORD, CALLER, "Browser")
    await auth.log_in(EMAIL, PASSWORD, STRANGER, "Robot")


async def test_the_right_password_begins_the_count_anew(auth: AuthenticationService) -> None:
    for device in ("Phone", "Tablet", None):
        await fail(auth, 4)
        await auth.log_in(EMAIL, PASSWORD, STRANGER, device)


async def test_failures_of_long_ago_do_not_count(
    auth: AuthenticationService, clock: FixedClock
) -> None:
    for _ in range(4):
        await fail(auth, 4)
        clock.advance(seconds=901)
    await auth.log_in(EMAIL, PASSWORD, STRANGER, "Robot")


@pytest.mark.parametrize("email", [EMAIL, "nobody@b.test"])
async def test_of_guesses_that_arrive_together_five_are_tried(
    auth: AuthenticationService, passwords: Passwords, email: str
) -> None:
    outcomes = await asyncio.gather(
        *(auth.log_in(email, f"guess number {n:04}", STRANGER, "Robot") for n in range(30)),
        return_exceptions=True,
    )
    assert passwords.tried == 5
    assert sorted(type(one).__name__ for one in outcomes) == (
        ["AccountLocked"] * 25 + ["InvalidCredentials"] * 5
    )
    assert not auth._guard._turns  # nothing is left of those who waited


async def test_of_guesses_through_two_processes_six_are_tried_at_most(
    auth: AuthenticationService, database_url: str, clock: FixedClock, passwords: Passwords
) -> None:
    database = Database(database_url)
    other = gate_of(Runner(database, clock), clock, passwords)
    await asyncio.gather(
        *(
            door.log_in(EMAIL, f"guess number {n:04}", STRANGER, "Robot")
            for n in range(15)
            for door in (auth, other)
        ),
        return_exceptions=True,
    )
    await database.close()
    assert 5 <= passwords.tried <= 6


async def test_many_who_have_the_right_password_come_in_together(
    auth: AuthenticationService,
) -> None:
    sessions = await asyncio.gather(
        *(auth.log_in(EMAIL, PASSWORD, STRANGER, "Robot") for _ in range(12))
    )
    assert len({one.session.id for one in sessions}) == 12


async def test_first_failures_that_are_counted_at_once_all_count(runner: Runner) -> None:
    key = failures_key("x")
    await asyncio.gather(
        *(runner.run(count_failure, CountFailure(key), STRANGER) for _ in range(4))
    )
    rows = await owner.rows(runner.database.url, "SELECT in_a_row FROM identity_failures")
    assert rows == [(4,)]


async def test_a_thief_of_a_session_cannot_try_passwords_for_long(
    auth: AuthenticationService, ada: Actor
) -> None:
    for _ in range(5):
        with pytest.raises(WrongPassword):
            await auth.change_password("wrong horse battery", "another password", ada)
    with pytest.raises(AccountLocked):
        await auth.change_password(PASSWORD, "another password", ada)
    await auth.log_in(EMAIL, PASSWORD, STRANGER, "Robot")


async def test_neither_addresses_nor_guesses_are_in_the_tables(
    auth: AuthenticationService, database_url: str
) -> None:
    await fail(auth, 1, "secret-admirer@b.test")
    for table in ("identity_failures", "audit_events"):
        everything = repr(await owner.rows(database_url, f"SELECT * FROM {table}"))
        assert "admirer" not in everything
        assert "wrong horse" not in everything


async def test_an_outdated_hash_is_made_anew_at_the_next_login(
    auth: AuthenticationService, runner: Runner, database_url: str, passwords: Passwords
) -> None:
    weak = Argon2Passwords(SECRET, memory_kib=32, time_cost=1)
    async with runner.database.begin() as connection:
        await connection.execute(users.update().values(password_hash=await weak.hash(PASSWORD)))
    weak.close()
    await auth.log_in(EMAIL, PASSWORD, CALLER, "Browser")
    ((encoded,),) = await owner.rows(database_url, "SELECT password_hash FROM identity_users")
    assert not passwords.is_outdated(encoded)
    await auth.log_in(EMAIL, PASSWORD, CALLER, "Browser")
