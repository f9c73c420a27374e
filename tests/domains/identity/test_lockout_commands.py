"""Wrong passwords: counted, bounded, and no weapon against the owner."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from guilder.core.actor import SYSTEM, Actor
from guilder.core.clock import FixedClock, iso_instant
from guilder.core.permissions import Role
from guilder.core.tokens import opaque_hash
from guilder.db.engine import Database
from guilder.db.run import Runner
from guilder.domains.identity.commands.letters import (
    RequestLetter,
    SendLetter,
    request_letter,
    send_letter,
)
from guilder.domains.identity.commands.sessions import EndOtherSessions, end_other_sessions
from guilder.domains.identity.errors import AccountLocked, InvalidCredentials, WrongPassword
from guilder.domains.identity.models import letters, users
from guilder.domains.identity.repository.sign_in import find_for_login, is_known_device
from guilder.domains.identity.rules.devices import client_device
from guilder.domains.identity.rules.letters import Purpose
from guilder.domains.identity.rules.lockout import LOCK_US, failures_key
from guilder.domains.identity.services.authentication import AuthenticationService
from guilder.infra.security.passwords import Argon2Passwords
from guilder.infra.security.tokens import LetterTokens
from tests.db import owner
from tests.domains.identity.doors import SECRET, gate_of, guess_wrongly
from tests.support.constants import CALLER, EMAIL, NOW, PASSWORD, STRANGER


class Passwords(Argon2Passwords):
    """Real and cheap hashes, and how many were compared."""

    def __init__(self) -> None:
        super().__init__(SECRET, memory_kib=64, time_cost=1)
        self.tried = 0

    async def verify(self, encoded: str | None, password: str, typed: str | None = None) -> bool:
        self.tried += 1
        return await super().verify(encoded, password, typed)


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


async def test_the_right_password_of_a_switched_off_user_counts_like_a_wrong_one(
    auth: AuthenticationService, runner: Runner
) -> None:
    async with runner.database.begin() as connection:
        await connection.execute(users.update().values(is_active=False))
    for _ in range(5):
        with pytest.raises(InvalidCredentials):
            await auth.log_in(EMAIL, PASSWORD, STRANGER, "Robot")
    with pytest.raises(AccountLocked):
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
    await asyncio.gather(*(guess_wrongly(runner, key) for _ in range(4)))
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


async def another_session(auth: AuthenticationService) -> Actor:
    signed_in = await auth.log_in(EMAIL, PASSWORD, CALLER, "Browser")
    return Actor(signed_in.user.id, Role.USER, session_id=signed_in.session.id)


async def wrong_step_ups(auth: AuthenticationService, who: Actor, times: int) -> None:
    for _ in range(times):
        with pytest.raises(WrongPassword):
            await auth.step_up_with_password("wrong horse battery", who)


async def test_wrong_step_ups_with_a_stolen_token_do_not_bar_the_owner(
    auth: AuthenticationService, ada: Actor
) -> None:
    await wrong_step_ups(auth, ada, 5)
    with pytest.raises(AccountLocked):
        await auth.step_up_with_password(PASSWORD, ada)
    own = await another_session(auth)
    await auth.step_up_with_password(PASSWORD, own)
    await auth.change_password(PASSWORD, "another password", own)


async def test_a_right_step_up_begins_the_count_anew(
    auth: AuthenticationService, ada: Actor
) -> None:
    for _ in range(3):
        await wrong_step_ups(auth, ada, 4)
        await auth.step_up_with_password(PASSWORD, ada)


async def test_a_changed_password_begins_the_count_anew(
    auth: AuthenticationService, ada: Actor
) -> None:
    present = PASSWORD
    for number in range(3):
        await wrong_step_ups(auth, ada, 4)
        next_one = f"another password {number}"
        await auth.change_password(present, next_one, ada)
        present = next_one


async def test_a_reset_lifts_every_lock_of_the_owner(
    auth: AuthenticationService, runner: Runner, database_url: str
) -> None:
    """On their own device, on others, and of codes."""
    await fail(auth, 5)
    for _ in range(5):
        with pytest.raises(InvalidCredentials):
            await auth.log_in(EMAIL, "wrong horse battery", CALLER, "Browser")
    token = LetterTokens(SECRET)
    await runner.run(request_letter, RequestLetter(Purpose.RESET, EMAIL), CALLER)
    wanted = letters.select().where(letters.c.purpose == Purpose.RESET.value)
    row = await runner.view(lambda view: view.first(wanted))
    text = token.token(row.id)
    await runner.run(send_letter, SendLetter(row.id, opaque_hash(text)), SYSTEM)
    await auth.reset_password(text, "another password", CALLER, "Browser")
    assert await owner.rows(database_url, "SELECT * FROM identity_failures") == []
    await auth.log_in(EMAIL, "another password", CALLER, "Browser")
    await auth.log_in(EMAIL, "another password", STRANGER, "Robot")


@pytest.mark.parametrize("what", ["sign-in", "step-up", "password"])
async def test_a_lock_says_what_is_locked_and_until_when(
    auth: AuthenticationService, ada: Actor, what: str
) -> None:
    await fail(auth, 5)
    await wrong_step_ups(auth, ada, 5)
    tries: dict[str, tuple[str, Callable[[], Coroutine[Any, Any, object]]]] = {
        "sign-in": (
            "sign in with this e-mail address",
            lambda: auth.log_in(EMAIL, PASSWORD, STRANGER, "Robot"),
        ),
        "step-up": (
            "step-ups are paused",
            lambda: auth.step_up_with_password(PASSWORD, ada),
        ),
        "password": (
            "changing the password is paused",
            lambda: auth.change_password(PASSWORD, "another password", ada),
        ),
    }
    words, again = tries[what]
    with pytest.raises(AccountLocked, match=words) as refused:
        await again()
    until = iso_instant(NOW + LOCK_US)
    assert refused.value.detail.endswith(f"Try again after {until}.")
    assert refused.value.extra == {"locked_until": until}


NEIGHBOURS = [
    ("2001:db8:1:2:aaaa::1", "2001:db8:1:2:bbbb:5:6:7", True),
    ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
    ("192.0.2.1", "192.0.2.2", False),
    ("192.0.2.1", "::ffff:192.0.2.1", True),
    ("fe80::1%eth0", "fe80::2%eth1", True),
]
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:{0}.0) Gecko/20100101 Firefox/{0}.0"


@pytest.mark.parametrize(("first", "then", "is_known"), NEIGHBOURS)
async def test_a_device_is_known_by_its_network(
    auth: AuthenticationService, runner: Runner, first: str, then: str, is_known: bool
) -> None:
    await auth.log_in(EMAIL, PASSWORD, Actor(None, None, "r", first), FIREFOX.format(133))
    later = client_device(then, FIREFOX.format(140))  # updated meanwhile
    found = await runner.view(find_for_login, EMAIL, later)
    assert found is not None
    assert found.is_known_device is is_known
    assert await runner.view(is_known_device, found.user.id, later) is is_known


async def test_a_device_whose_session_was_revoked_is_not_known(
    auth: AuthenticationService, runner: Runner, ada: Actor
) -> None:
    await auth.log_in(EMAIL, PASSWORD, STRANGER, "Robot")
    await runner.run(end_other_sessions, EndOtherSessions(), ada)
    found = await runner.view(find_for_login, EMAIL, client_device(STRANGER.ip_address, "Robot"))
    assert found is not None
    assert not found.is_known_device


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
