"""Stepping up on real databases: what is asked for, and how often it may be guessed."""

import pytest

from guilder.core.clock import FixedClock
from guilder.core.errors import Unauthenticated
from guilder.db.run import Runner
from guilder.domains.identity.commands.sessions import EndSession, end_session
from guilder.domains.identity.commands.step_up import StepUp, step_up
from guilder.domains.identity.errors import (
    AccountLocked,
    FactorRequired,
    WrongFactor,
    WrongPassword,
)
from guilder.domains.identity.queries import session_user
from guilder.domains.identity.repository.users import find_with_password
from guilder.domains.identity.services.authentication import AuthenticationService, SignedIn
from tests.domains.identity.codes import code_at
from tests.domains.identity.doors import WRONG, actor_of, enrol, log_in
from tests.support.constants import CALLER, EMAIL, PASSWORD


@pytest.fixture
async def ada(auth: AuthenticationService) -> SignedIn:
    return await auth.sign_up(EMAIL, PASSWORD, None, CALLER, "Browser")


async def test_stepping_up_takes_the_factor_of_who_has_one(
    auth: AuthenticationService, runner: Runner, clock: FixedClock, ada: SignedIn
) -> None:
    async def proved_at() -> int | None:
        return (
            await runner.view(
                lambda v: session_user(v, ada.session.id, ada.user.id, ada.session.version)
            )
        )[1]

    assert await proved_at() == clock.now_us()  # signing in is a proof
    clock.advance(seconds=3600)
    with pytest.raises(WrongPassword):
        await auth.step_up_with_password("wrong horse battery", actor_of(ada))
    with pytest.raises(WrongFactor):
        await auth.step_up_with_code(WRONG, actor_of(ada))
    assert await proved_at() == clock.now_us() - 3_600_000_000
    expires_at = await auth.step_up_with_password(PASSWORD, actor_of(ada))
    assert await proved_at() == clock.now_us() == expires_at - 300_000_000
    secret, codes = await enrol(auth, ada, clock)
    clock.advance(seconds=60)
    with pytest.raises(FactorRequired):
        await auth.step_up_with_password(PASSWORD, actor_of(ada))
    assert await proved_at() == clock.now_us() - 60_000_000
    for code in (code_at(secret, clock), codes[0]):
        clock.advance(seconds=1)
        await auth.step_up_with_code(code, actor_of(ada))
        assert await proved_at() == clock.now_us()
        with pytest.raises(WrongFactor):
            await auth.step_up_with_code(code, actor_of(ada))


async def test_guesses_while_stepping_up_are_bounded(
    auth: AuthenticationService, clock: FixedClock, ada: SignedIn
) -> None:
    secret, _ = await enrol(auth, ada, clock)
    clock.advance(seconds=300)
    for _ in range(5):
        with pytest.raises(WrongFactor):
            await auth.step_up_with_code(WRONG, actor_of(ada))
    with pytest.raises(AccountLocked):
        await auth.step_up_with_code(code_at(secret, clock), actor_of(ada))
    other = await log_in(auth, code_at(secret, clock))  # a thief of one session harms no other
    clock.advance(seconds=30)
    await auth.step_up_with_code(code_at(secret, clock), actor_of(other))


async def test_what_changed_while_the_password_was_checked_is_seen(
    auth: AuthenticationService, runner: Runner, ada: SignedIn
) -> None:
    found = await runner.view(lambda v: find_with_password(v, actor_of(ada)))
    assert found is not None
    with pytest.raises(WrongPassword):
        await runner.run(step_up, StepUp("the hash of another"), actor_of(ada))
    await runner.run(end_session, EndSession(ada.session.id), actor_of(ada))
    with pytest.raises(Unauthenticated):
        await runner.run(step_up, StepUp(found[1]), actor_of(ada))
