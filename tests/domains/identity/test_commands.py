"""Users and sessions on real databases."""

import asyncio
import re
from typing import Any

import pytest
from sqlalchemy import select

from guilder.core.actor import ANONYMOUS, SYSTEM
from guilder.core.clock import FixedClock
from guilder.core.errors import Unauthenticated
from guilder.core.permissions import Role
from guilder.core.tokens import opaque_hash
from guilder.db.audit import audit_events
from guilder.db.run import Runner
from guilder.db.unit_of_work import UnitOfWork
from guilder.domains.identity.commands.sessions import (
    OpenSession,
    SignUp,
    open_session,
    sign_up,
)
from guilder.domains.identity.commands.users import CreateUser, RegisterUser, register_user
from guilder.domains.identity.errors import EmailTaken, InvalidCredentials, WeakPassword
from guilder.domains.identity.models import refresh_tokens, sessions, users
from guilder.domains.identity.queries import session_user, user_by_email
from guilder.domains.identity.repository import users as users_repository
from guilder.domains.identity.rules.sessions import DEFAULT_LIFE, Session
from guilder.domains.identity.rules.users import User
from guilder.domains.identity.services.authentication import AuthenticationService
from guilder.infra.security.passwords import Argon2Passwords
from tests.domains.identity.doors import gate_of
from tests.support.builders import a_user
from tests.support.constants import CALLER, NOW, PASSWORD


class CountingPasswords(Argon2Passwords):
    """Real hashes, cheap ones, and how often each kind of work was asked for."""

    def __init__(self) -> None:
        super().__init__(b"p" * 32, memory_kib=64, time_cost=1)
        self.verified: list[bool] = []

    async def verify(self, encoded: str | None, password: str, typed: str | None = None) -> bool:
        self.verified.append(encoded is not None)
        return await super().verify(encoded, password, typed)


@pytest.fixture
def passwords() -> CountingPasswords:
    return CountingPasswords()


@pytest.fixture
def auth(runner: Runner, passwords: CountingPasswords, clock: FixedClock) -> AuthenticationService:
    return gate_of(runner, clock, passwords)


async def make(runner: Runner, email: str = "Ada@example.test", **more: Any) -> User:
    return await a_user(runner, email, **more)


async def switch_off(runner: Runner, user: User) -> None:
    async with runner.database.begin() as connection:
        await connection.execute(
            users.update().where(users.c.id == user.id).values(is_active=False)
        )


async def test_a_user_is_stored_as_returned(runner: Runner) -> None:
    user = await make(runner, full_name="Ada Lovelace", role=Role.ADMIN)
    assert user == User(user.id, "Ada@example.test", "Ada Lovelace", Role.ADMIN, True, False, NOW)
    assert await runner.view(lambda view: user_by_email(view, "ADA@example.test")) == user
    assert await runner.view(lambda view: user_by_email(view, "eve@example.test")) is None


async def test_another_spelling_of_a_taken_address_is_refused(runner: Runner) -> None:
    await make(runner)
    with pytest.raises(EmailTaken) as refused:
        await make(runner, "ada@EXAMPLE.test")
    assert refused.value.__context__ is None  # the driver's error repeats what was sent


async def test_of_users_who_sign_up_together_with_one_address_one_wins(runner: Runner) -> None:
    outcomes = await asyncio.gather(
        *(make(runner, f"A{'d' if i % 2 else 'D'}a@example.test") for i in range(12)),
        return_exceptions=True,
    )
    assert sum(isinstance(one, User) for one in outcomes) == 1
    assert sum(isinstance(one, EmailTaken) for one in outcomes) == 11


async def test_a_session_is_stored_with_the_hash_of_its_token_alone(runner: Runner) -> None:
    user = await make(runner)
    digest = opaque_hash("token")
    command = OpenSession(user.id, digest, "hash", "Browser")
    session = await runner.run(open_session, command, CALLER)
    assert session == Session(
        session.id, user.id, "Browser", "192.0.2.1", NOW, NOW, DEFAULT_LIFE.expires_at(NOW, NOW)
    )
    async with runner.database.view() as connection:
        stored = (await connection.execute(sessions.select())).one()
        token = (await connection.execute(refresh_tokens.select())).one()
    assert (stored.id, stored.user_id) == (session.id, user.id)
    assert (token.session_id, token.hash) == (session.id, digest)
    assert b"token" not in token.hash


async def test_a_user_who_is_switched_off_gets_no_session(runner: Runner) -> None:
    user = await make(runner)
    await switch_off(runner, user)
    with pytest.raises(InvalidCredentials):
        await runner.run(open_session, OpenSession(user.id, b"x", "hash"), CALLER)


async def test_a_password_that_changed_meanwhile_gets_no_session(runner: Runner) -> None:
    user = await make(runner)
    with pytest.raises(InvalidCredentials):
        await runner.run(open_session, OpenSession(user.id, b"x", "another hash"), CALLER)


async def test_signing_up_makes_both_or_neither(runner: Runner) -> None:
    user, session = await runner.run(sign_up, SignUp(CreateUser("a@b.test", "h"), b"x"), CALLER)
    assert session.user_id == user.id
    with pytest.raises(EmailTaken):
        await runner.run(sign_up, SignUp(CreateUser("A@b.test", "h"), b"y"), CALLER)
    async with runner.database.view() as connection:
        assert len((await connection.execute(sessions.select())).all()) == 1


async def test_a_session_is_good_while_it_lasts_and_for_its_user_alone(
    runner: Runner, clock: FixedClock
) -> None:
    user, session = await runner.run(sign_up, SignUp(CreateUser("a@b.test", "h"), b"x"), CALLER)
    other = await make(runner)

    async def whose(user_id: object = user.id) -> User:
        found = await runner.view(
            lambda view: session_user(view, session.id, user_id, session.version)  # type: ignore[arg-type]
        )
        return found.user

    assert await whose() == user
    with pytest.raises(Unauthenticated):
        await whose(other.id)
    clock.advance(days=30)
    with pytest.raises(Unauthenticated):
        await whose()
    clock.advance(days=-1)
    await switch_off(runner, user)
    with pytest.raises(Unauthenticated):
        await whose()


async def test_the_gate_lets_in_who_has_the_password(
    auth: AuthenticationService, runner: Runner
) -> None:
    new = await auth.sign_up("Ada@example.test", PASSWORD, "Ada", CALLER, "Browser")
    again = await auth.log_in("ada@example.test", PASSWORD, CALLER, None)
    assert new.user == again.user
    assert len({new.refresh_token, again.refresh_token}) == 2
    assert new.session.id != again.session.id
    async with runner.database.view() as connection:
        hashes = set((await connection.execute(select(refresh_tokens.c.hash))).scalars())
        encoded = await connection.scalar(select(users.c.password_hash))
    assert hashes == {opaque_hash(new.refresh_token), opaque_hash(again.refresh_token)}
    assert encoded is not None
    assert re.match(r"p2\.[0-9a-f]{16}\$argon2id\$", encoded)


async def test_a_password_fits_in_every_encoding_of_its_characters(
    auth: AuthenticationService,
) -> None:
    await auth.sign_up("a@b.test", "cafe\N{COMBINING ACUTE ACCENT} au lait", None, CALLER, None)
    await auth.log_in("a@b.test", "caf\N{LATIN SMALL LETTER E WITH ACUTE} au lait", CALLER, None)


async def test_what_is_wrong_with_a_login_is_not_told_and_costs_the_same(
    auth: AuthenticationService, runner: Runner, passwords: CountingPasswords
) -> None:
    await auth.sign_up("a@b.test", PASSWORD, None, CALLER, None)
    off = (await auth.sign_up("off@b.test", PASSWORD, None, CALLER, None)).user
    await switch_off(runner, off)
    refusals = []
    for email, password in (
        ("a@b.test", PASSWORD + "x"),
        ("unknown@b.test", PASSWORD),
        ("off@b.test", PASSWORD),
    ):
        with pytest.raises(InvalidCredentials) as refused:
            await auth.log_in(email, password, CALLER, None)
        refusals.append((refused.value.code, refused.value.detail, dict(refused.value.extra)))
    assert len({repr(refusal) for refusal in refusals}) == 1
    assert passwords.verified == [True, False, True]


async def test_a_weak_password_is_refused_before_any_work(
    auth: AuthenticationService, runner: Runner
) -> None:
    with pytest.raises(WeakPassword):
        await auth.sign_up("a@b.test", "short", None, CALLER, None)
    assert await runner.view(lambda view: user_by_email(view, "a@b.test")) is None


async def test_the_audit_trail_tells_who_came_in_and_holds_no_secret(
    auth: AuthenticationService, runner: Runner
) -> None:
    signed_in = await auth.sign_up("a@b.test", PASSWORD, None, CALLER, None)
    await auth.log_in("a@b.test", PASSWORD, CALLER, None)
    async with runner.database.view() as connection:
        rows = (await connection.execute(audit_events.select().order_by("id"))).all()
    assert [(row.action, row.phase, row.actor, row.ip_address) for row in rows] == [
        ("user.sign_up", "attempted", ANONYMOUS.name, "192.0.2.1"),
        ("user.sign_up", "succeeded", ANONYMOUS.name, "192.0.2.1"),
        ("session.open", "attempted", ANONYMOUS.name, "192.0.2.1"),
        ("session.open", "succeeded", ANONYMOUS.name, "192.0.2.1"),
    ]
    assert PASSWORD not in repr(rows)
    assert signed_in.refresh_token not in repr(rows)


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)  # SQLite writes one by one
async def test_an_address_that_is_given_up_while_somebody_signs_up_is_theirs(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await make(runner, "ada@example.test")
    store, asked = users_repository.insert_user, []

    async def given_up_afterwards(uow: UnitOfWork, user: User, password_hash: str) -> bool:
        is_new = await store(uow, user, password_hash)
        asked.append(is_new)
        if len(asked) == 1:
            async with runner.database.begin() as connection:
                moved = users.update().where(users.c.id == ada.id).values(email_key="elsewhere")
                await connection.execute(moved)
        return is_new

    monkeypatch.setattr(users_repository, "insert_user", given_up_afterwards)
    new = RegisterUser("ada@example.test", "hash")
    made = await runner.run(register_user, new, SYSTEM)
    assert asked == [False, True]
    assert await runner.view(user_by_email, "ada@example.test") == made
