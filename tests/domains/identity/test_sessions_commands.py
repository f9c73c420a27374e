"""Refreshing and ending sessions on real databases."""

import asyncio

import bcrypt
import pytest

from guilder.core.actor import Actor
from guilder.core.clock import FixedClock
from guilder.core.errors import Forbidden, Unauthenticated
from guilder.core.page import PageRequest
from guilder.core.permissions import Role
from guilder.db.run import Runner
from guilder.domains.identity.commands.sessions import (
    EndOtherSessions,
    EndSession,
    end_other_sessions,
    end_session,
)
from guilder.domains.identity.commands.users import (
    ChangeName,
    ChangePassword,
    change_name,
    change_password,
)
from guilder.domains.identity.errors import (
    InvalidCredentials,
    RefreshInvalid,
    RefreshReused,
    SessionNotFound,
    WeakPassword,
    WrongPassword,
)
from guilder.domains.identity.models import sessions, users
from guilder.domains.identity.queries import (
    get_me,
    get_session,
    get_user,
    list_sessions,
    list_users,
    session_user,
)
from guilder.domains.identity.repository.users import find_with_password
from guilder.domains.identity.rules.users import UserFilter
from guilder.domains.identity.services.authentication import AuthenticationService, SignedIn
from guilder.infra.security.tokens import AccessTokens
from tests.db import owner
from tests.domains.identity.doors import SECRET, gate_of
from tests.support.builders import a_user
from tests.support.constants import CALLER, EMAIL, PASSWORD


@pytest.fixture
def access(clock: FixedClock) -> AccessTokens:
    return AccessTokens(SECRET, clock)


@pytest.fixture
def auth(runner: Runner, clock: FixedClock) -> AuthenticationService:
    return gate_of(runner, clock)


@pytest.fixture
async def ada(auth: AuthenticationService) -> SignedIn:
    return await auth.sign_up(EMAIL, PASSWORD, "Ada", CALLER, "Browser")


def actor_of(who: SignedIn) -> Actor:
    return Actor(who.user.id, Role.USER, session_id=who.session.id)


async def is_good(runner: Runner, who: SignedIn) -> bool:
    try:
        await runner.view(
            lambda view: session_user(view, who.session.id, who.user.id, who.session.version)
        )
    except Unauthenticated:
        return False
    return True


async def ending(runner: Runner, who: SignedIn) -> str | None:
    async with runner.database.view() as connection:
        found: str | None = await connection.scalar(
            sessions.select()
            .with_only_columns(sessions.c.ending)
            .where(sessions.c.id == who.session.id)
        )
    return found


async def test_a_refresh_token_gives_a_new_pair_of_the_same_session(
    auth: AuthenticationService,
    runner: Runner,
    access: AccessTokens,
    clock: FixedClock,
    ada: SignedIn,
) -> None:
    clock.advance(days=10)
    following = await auth.refresh(ada.refresh_token, CALLER)
    assert following.user == ada.user
    assert following.session.id == ada.session.id
    assert following.refresh_token != ada.refresh_token
    claims = access.read(following.access_token)
    assert (claims.user_id, claims.session_id) == (ada.user.id, ada.session.id)
    clock.advance(days=10)  # 20 in all: each token is good for 14 of its own
    third = await auth.refresh(following.refresh_token, CALLER)
    stored = await runner.view(lambda view: get_session(view, actor_of(ada), ada.session.id))
    assert stored == third.session
    assert stored.last_activity_at == clock.now_us()
    assert stored.generation == 3


async def test_a_session_that_is_not_refreshed_ends_after_a_fortnight(
    auth: AuthenticationService, clock: FixedClock, ada: SignedIn
) -> None:
    clock.advance(days=14)
    with pytest.raises(RefreshInvalid):
        await auth.refresh(ada.refresh_token, CALLER)


@pytest.mark.parametrize("token", ["", "x", "\N{EURO SIGN}", "x" * 1000])
async def test_a_token_that_was_never_given_out_is_refused(
    auth: AuthenticationService, ada: SignedIn, token: str
) -> None:
    for wrong in (token, ada.access_token, ada.refresh_token[:-1], ada.refresh_token + "="):
        with pytest.raises(RefreshInvalid):
            await auth.refresh(wrong, CALLER)
    await auth.refresh(ada.refresh_token, CALLER)


async def test_a_client_that_asks_twice_is_given_the_same_pair(
    auth: AuthenticationService, clock: FixedClock, ada: SignedIn
) -> None:
    first = await auth.refresh(ada.refresh_token, CALLER)
    clock.advance(seconds=60)
    again = await auth.refresh(ada.refresh_token, CALLER)
    assert (again.access_token, again.refresh_token) == (first.access_token, first.refresh_token)


async def test_of_many_who_ask_at_once_all_are_given_the_same_pair(
    auth: AuthenticationService, runner: Runner, ada: SignedIn
) -> None:
    pairs = await asyncio.gather(*(auth.refresh(ada.refresh_token, CALLER) for _ in range(8)))
    assert len({(pair.access_token, pair.refresh_token) for pair in pairs}) == 1
    assert await is_good(runner, ada)


async def test_a_token_that_is_used_again_later_ends_the_session(
    auth: AuthenticationService, runner: Runner, clock: FixedClock, ada: SignedIn
) -> None:
    other = await auth.log_in(EMAIL, PASSWORD, CALLER, None)
    thief = await auth.refresh(ada.refresh_token, CALLER)
    clock.advance(seconds=61)
    with pytest.raises(RefreshReused):
        await auth.refresh(ada.refresh_token, CALLER)
    assert not await is_good(runner, ada)
    assert await ending(runner, ada) == "refresh_reused"
    with pytest.raises(RefreshInvalid):
        await auth.refresh(thief.refresh_token, CALLER)
    assert await is_good(runner, other)  # another family


async def test_a_token_whose_successor_was_used_ends_the_session_at_once(
    auth: AuthenticationService, runner: Runner, ada: SignedIn
) -> None:
    second = await auth.refresh(ada.refresh_token, CALLER)
    await auth.refresh(second.refresh_token, CALLER)
    with pytest.raises(RefreshReused):
        await auth.refresh(ada.refresh_token, CALLER)
    assert not await is_good(runner, ada)


async def test_reuse_is_in_the_audit_trail_and_the_tokens_are_not(
    auth: AuthenticationService, runner: Runner, database_url: str, ada: SignedIn
) -> None:
    second = await auth.refresh(ada.refresh_token, CALLER)
    third = await auth.refresh(second.refresh_token, CALLER)
    with pytest.raises(RefreshReused):
        await auth.refresh(ada.refresh_token, CALLER)
    rows = await owner.rows(
        database_url, "SELECT action, phase, code FROM audit_events ORDER BY id DESC LIMIT 4"
    )
    assert rows[::-1] == [
        ("session.refresh", "attempted", None),
        ("session.refresh", "failed", "refresh_reused"),
        ("session.end_reused", "attempted", None),
        ("session.end_reused", "succeeded", None),
    ]
    for table in ("audit_events", "identity_sessions", "identity_refresh_tokens", "outbox"):
        everything = repr(await owner.rows(database_url, f"SELECT * FROM {table}"))
        for token in (ada.refresh_token, second.refresh_token, third.refresh_token):
            assert token not in everything


async def test_who_is_switched_off_gets_no_new_pair(
    auth: AuthenticationService, runner: Runner, ada: SignedIn
) -> None:
    async with runner.database.begin() as connection:
        await connection.execute(users.update().values(is_active=False))
    with pytest.raises(RefreshInvalid):
        await auth.refresh(ada.refresh_token, CALLER)
    with pytest.raises(Unauthenticated):
        await runner.view(lambda view: get_me(view, actor_of(ada)))
    with pytest.raises(Unauthenticated):
        await auth.change_password(PASSWORD, "another good password", actor_of(ada))


async def test_a_session_that_has_ended_is_good_for_nothing(
    auth: AuthenticationService, runner: Runner, ada: SignedIn
) -> None:
    other = await auth.log_in(EMAIL, PASSWORD, CALLER, None)
    await runner.run(end_session, EndSession(other.session.id), actor_of(ada))
    assert (await is_good(runner, ada), await is_good(runner, other)) == (True, False)
    assert await ending(runner, other) == "revoked"
    with pytest.raises(RefreshInvalid):
        await auth.refresh(other.refresh_token, CALLER)
    await runner.run(end_session, EndSession(other.session.id), actor_of(ada))  # again: no harm
    await runner.run(end_session, EndSession(ada.session.id), actor_of(ada))
    assert await ending(runner, ada) == "logged_out"


async def test_nobody_ends_or_sees_the_session_of_another(
    auth: AuthenticationService, runner: Runner, ada: SignedIn
) -> None:
    eve = await auth.sign_up("eve@b.test", PASSWORD, None, CALLER, None)
    with pytest.raises(SessionNotFound):
        await runner.run(end_session, EndSession(ada.session.id), actor_of(eve))
    with pytest.raises(SessionNotFound):
        await runner.view(lambda view: get_session(view, actor_of(eve), ada.session.id))
    await runner.run(end_other_sessions, EndOtherSessions(), actor_of(eve))
    assert await is_good(runner, ada)
    page = await runner.view(lambda view: list_sessions(view, actor_of(eve), PageRequest()))
    assert [session.id for session in page.items] == [eve.session.id]


async def test_all_other_sessions_end_at_once(
    auth: AuthenticationService, runner: Runner, ada: SignedIn
) -> None:
    others = [await auth.log_in(EMAIL, PASSWORD, CALLER, None) for _ in range(3)]
    await runner.run(end_other_sessions, EndOtherSessions(), actor_of(ada))
    assert [await is_good(runner, who) for who in (ada, *others)] == [True, False, False, False]
    with pytest.raises(Unauthenticated):
        await runner.run(end_other_sessions, EndOtherSessions(), Actor(ada.user.id, Role.USER))


async def test_sessions_are_listed_page_by_page_newest_first(
    auth: AuthenticationService, runner: Runner, clock: FixedClock, ada: SignedIn
) -> None:
    made = [ada.session.id]
    for _ in range(4):
        clock.advance(seconds=1)
        made.append((await auth.log_in(EMAIL, PASSWORD, CALLER, None)).session.id)
    first = await runner.view(lambda view: list_sessions(view, actor_of(ada), PageRequest(3)))
    assert [session.id for session in first.items] == made[:1:-1]
    after = PageRequest(3, after=str(made[2]))
    rest = await runner.view(lambda view: list_sessions(view, actor_of(ada), after))
    assert [session.id for session in rest.items] == made[1::-1]
    assert (first.has_more, rest.has_more) == (True, False)


async def test_a_changed_password_lets_in_and_ends_the_other_sessions(
    auth: AuthenticationService, runner: Runner, ada: SignedIn
) -> None:
    other = await auth.log_in(EMAIL, PASSWORD, CALLER, None)
    await auth.change_password(PASSWORD, "another good password", actor_of(ada))
    assert (await is_good(runner, ada), await is_good(runner, other)) == (True, False)
    assert await ending(runner, other) == "password_changed"
    with pytest.raises(InvalidCredentials):
        await auth.log_in(EMAIL, PASSWORD, CALLER, None)
    await auth.log_in(EMAIL, "another good password", CALLER, None)


async def test_of_two_who_change_the_password_at_once_one_wins(
    auth: AuthenticationService, runner: Runner, ada: SignedIn
) -> None:
    """Else who is thrown out by a change could take the account back with the old password."""
    stored = await runner.view(lambda view: find_with_password(view, actor_of(ada)))
    assert stored is not None
    await auth.change_password(PASSWORD, "another good password", actor_of(ada))
    with pytest.raises(WrongPassword):
        await runner.run(change_password, ChangePassword(stored[1], "x"), actor_of(ada))
    with pytest.raises(Unauthenticated):
        await runner.run(change_password, ChangePassword(stored[1], "x"), CALLER)
    await auth.log_in(EMAIL, "another good password", CALLER, None)


async def test_a_password_is_changed_only_by_who_knows_it(
    auth: AuthenticationService, runner: Runner, ada: SignedIn
) -> None:
    with pytest.raises(WrongPassword):
        await auth.change_password("wrong horse battery", "another good password", actor_of(ada))
    with pytest.raises(WeakPassword):
        await auth.change_password(PASSWORD, "short", actor_of(ada))
    await auth.log_in(EMAIL, PASSWORD, CALLER, None)
    assert await is_good(runner, ada)


@pytest.mark.parametrize("prefix", ["$2a$", "$2b$", "$2y$"])
async def test_who_has_an_old_hash_of_bcrypt_signs_in_and_has_one_of_ours(
    auth: AuthenticationService, runner: Runner, database_url: str, prefix: str
) -> None:
    old = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode().replace("$2b$", prefix)
    await a_user(runner, "bea@b.test", old)

    async def stored() -> str:
        ((found,),) = await owner.rows(
            database_url, "SELECT password_hash FROM identity_users WHERE email = 'bea@b.test'"
        )
        return str(found)

    with pytest.raises(InvalidCredentials):
        await auth.log_in("bea@b.test", "wrong horse battery", CALLER, None)
    assert await stored() == old
    await auth.log_in("bea@b.test", PASSWORD, CALLER, None)
    ours = await stored()
    assert ours.startswith("p2.")
    await auth.log_in("bea@b.test", PASSWORD, CALLER, None)
    assert await stored() == ours
    with pytest.raises(InvalidCredentials):
        await auth.log_in("bea@b.test", "wrong horse battery", CALLER, None)


async def test_the_users_are_for_admins_whoever_asks(runner: Runner, ada: SignedIn) -> None:
    """The route asks for the permission too; the query does not rely on it."""
    with pytest.raises(Forbidden):
        await runner.view(lambda view: get_user(view, actor_of(ada), ada.user.id))
    with pytest.raises(Forbidden):
        await runner.view(lambda view: list_users(view, actor_of(ada), UserFilter(), PageRequest()))


async def test_the_name_is_changed_and_taken_away(runner: Runner, ada: SignedIn) -> None:
    for name in ("Ada King", None):
        user = await runner.run(change_name, ChangeName(name), actor_of(ada))
        assert user.full_name == name
        assert await runner.view(lambda view: get_me(view, actor_of(ada))) == user
    for nobody in (CALLER, Actor(ada.session.id, Role.USER)):
        with pytest.raises(Unauthenticated):
            await runner.run(change_name, ChangeName("Eve"), nobody)
        with pytest.raises(Unauthenticated):
            await runner.view(lambda view, who=nobody: get_me(view, who))  # type: ignore[misc]
