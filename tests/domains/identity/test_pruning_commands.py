"""What is over is deleted, what is needed is kept, and no run takes more than its share."""

import asyncio

import pytest

from guilder.core.actor import SYSTEM, Actor
from guilder.core.clock import FixedClock
from guilder.core.permissions import Role
from guilder.db.engine import Database
from guilder.db.run import Runner
from guilder.domains.identity.commands.pruning import PruneLogins, prune_logins
from guilder.domains.identity.commands.sessions import EndSession, end_session
from guilder.domains.identity.commands.users import RegisterUser, register_user
from guilder.domains.identity.errors import AccountLocked, InvalidCredentials, RefreshReused
from guilder.domains.identity.models import failures
from guilder.domains.identity.rules.lockout import failures_key
from guilder.domains.identity.services.authentication import AuthenticationService, SignedIn
from guilder.domains.identity.subscribers import prune_old_logins
from tests.db import owner
from tests.domains.identity.doors import guess_wrongly
from tests.support.constants import CALLER, EMAIL, PASSWORD
from tests.support.waiting import LONG

FAILURES, TOKENS, SESSIONS = "identity_failures", "identity_refresh_tokens", "identity_sessions"


@pytest.fixture
async def ada(auth: AuthenticationService) -> SignedIn:
    return await auth.sign_up(EMAIL, PASSWORD, None, CALLER, "Browser")


async def kept(runner: Runner) -> tuple[int, int, int]:
    """How many failures, tokens and sessions there are."""
    found = await owner.counts(runner.database.url, FAILURES, TOKENS, SESSIONS)
    return found[FAILURES], found[TOKENS], found[SESSIONS]


async def end(runner: Runner, who: SignedIn) -> None:
    actor = Actor(who.user.id, Role.USER, session_id=who.session.id)
    await runner.run(end_session, EndSession(who.session.id), actor)


async def test_failures_go_when_they_no_longer_count_and_a_lock_stays_while_it_lasts(
    auth: AuthenticationService, runner: Runner, clock: FixedClock, ada: SignedIn
) -> None:
    for _ in range(5):
        with pytest.raises(InvalidCredentials):
            await auth.log_in("eve@b.test", "wrong horse battery", CALLER, None)
    clock.advance(seconds=1)
    with pytest.raises(InvalidCredentials):
        await auth.log_in("bob@b.test", "wrong horse battery", CALLER, None)
    clock.advance(seconds=899)
    assert await prune_old_logins(runner) == 0
    assert await kept(runner) == (2, 1, 1)
    clock.advance(seconds=1)
    assert await prune_old_logins(runner) == 1
    clock.advance(seconds=1)
    assert await prune_old_logins(runner) == 1
    assert await kept(runner) == (0, 1, 1)


async def test_repeated_sign_ups_are_forgotten_after_thirty_days(
    runner: Runner, clock: FixedClock, ada: SignedIn
) -> None:
    new = RegisterUser(EMAIL, "hash", repeat_mac=b"m" * 32)
    await runner.run(register_user, new, CALLER)
    clock.advance(days=13)
    await prune_old_logins(runner)
    for seconds, pruned in ((17 * 86_400, 0), (1, 1)):
        clock.advance(seconds=seconds)
        await prune_old_logins(runner)
        left = await owner.counts(runner.database.url, "identity_repeated_sign_ups")
        assert left["identity_repeated_sign_ups"] == 1 - pruned


async def test_a_lock_is_not_shortened(
    auth: AuthenticationService, runner: Runner, clock: FixedClock
) -> None:
    for _ in range(5):
        with pytest.raises(InvalidCredentials):
            await auth.log_in("eve@b.test", "wrong horse battery", CALLER, None)
    clock.advance(seconds=899)
    await prune_old_logins(runner)
    with pytest.raises(AccountLocked):
        await auth.log_in("eve@b.test", "wrong horse battery", CALLER, None)


async def test_used_tokens_stay_as_long_as_their_reuse_must_be_seen(
    auth: AuthenticationService, runner: Runner, clock: FixedClock, ada: SignedIn
) -> None:
    token = ada.refresh_token
    for _ in range(4):
        clock.advance(days=13)
        token = (await auth.refresh(token, CALLER)).refresh_token
        assert await prune_old_logins(runner) == 0
    assert await kept(runner) == (0, 5, 1)
    with pytest.raises(RefreshReused):
        await auth.refresh(ada.refresh_token, CALLER)  # 52 days old
    clock.advance(days=1, seconds=1)
    assert await prune_old_logins(runner) == 5
    assert await kept(runner) == (0, 0, 1)


@pytest.mark.parametrize("how", ["ended", "expired"])
async def test_tokens_go_a_day_and_sessions_ninety_days_after_the_end(
    auth: AuthenticationService, runner: Runner, clock: FixedClock, ada: SignedIn, how: str
) -> None:
    if how == "ended":
        await end(runner, ada)
    else:
        clock.advance(days=14)
    clock.advance(days=1)
    assert await prune_old_logins(runner) == 0
    clock.advance(seconds=1)
    assert await prune_old_logins(runner) == 1
    assert await kept(runner) == (0, 0, 1)
    clock.advance(days=89, seconds=-1)
    assert await prune_old_logins(runner) == 0
    clock.advance(seconds=1)
    assert await prune_old_logins(runner) == 1
    assert await kept(runner) == (0, 0, 0)
    rows = await owner.rows(
        runner.database.url, "SELECT phase FROM audit_events WHERE action = 'identity.prune'"
    )
    assert rows == [("attempted",), ("succeeded",)] * 2  # nothing of the runs that did nothing


async def test_no_run_takes_more_than_its_share(
    auth: AuthenticationService, runner: Runner, clock: FixedClock, ada: SignedIn
) -> None:
    for _ in range(4):
        await auth.log_in(EMAIL, PASSWORD, CALLER, None)
    for name in "abcde":
        await guess_wrongly(runner, failures_key(name))
    clock.advance(days=200)
    async with asyncio.timeout(LONG):
        taken = [await runner.run(prune_logins, PruneLogins(2), SYSTEM) for _ in range(5)]
    assert taken == [6, 6, 3, 0, 0]  # of each kind two, and in the end one
    assert await kept(runner) == (0, 0, 0)


async def test_several_processes_may_prune_at_once(
    auth: AuthenticationService, runner: Runner, clock: FixedClock, ada: SignedIn
) -> None:
    stays = await auth.sign_up("eve@b.test", PASSWORD, None, CALLER, None)
    for _ in range(20):
        await end(runner, await auth.log_in(EMAIL, PASSWORD, CALLER, None))
    clock.advance(days=2)
    others = [Database(runner.database.url) for _ in range(3)]
    done = await asyncio.gather(*(prune_old_logins(Runner(one, clock)) for one in others))
    for one in others:
        await one.close()
    assert sum(done) == 20
    assert await kept(runner) == (0, 2, 22)
    assert (await auth.refresh(stays.refresh_token, CALLER)).user == stays.user


async def test_a_failure_that_is_counted_meanwhile_is_not_forgotten(
    runner: Runner, clock: FixedClock
) -> None:
    """The deletion has chosen the row and waits for the one who counts, and then must let it be."""
    key = failures_key("eve@b.test")
    await guess_wrongly(runner, key)
    clock.advance(days=1)
    if runner.database.sqlite:  # one writer at a time: there is no meanwhile
        await guess_wrongly(runner, key)
        assert await prune_old_logins(runner) == 0
        return
    async with runner.database.begin() as counting:
        await counting.execute(failures.update().values(last_at=clock.now_us()))
        pruning = asyncio.create_task(prune_old_logins(runner))
        await _waits_for_a_lock(runner.database.url)
    assert await pruning == 0
    assert await kept(runner) == (1, 0, 0)


async def _waits_for_a_lock(url: str) -> None:
    async with asyncio.timeout(LONG):
        while not await owner.rows(url, "SELECT 1 FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0.01)
