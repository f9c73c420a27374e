"""Statements that change rows: none of another user, none that is over, and no more than told.

The commands above them look first; these do not rely on it.
"""

from collections.abc import Awaitable, Callable
from typing import Concatenate

import pytest
from sqlalchemy import select

from guilder.core.actor import SYSTEM
from guilder.core.clock import FixedClock
from guilder.db.run import Runner
from guilder.db.unit_of_work import UnitOfWork
from guilder.domains.identity.commands.letters import RequestLetter, request_letter
from guilder.domains.identity.models import letters as table
from guilder.domains.identity.models import recovery_codes
from guilder.domains.identity.repository import factors, letters, sessions, users
from guilder.domains.identity.rules.factors import Passkey, PasskeyProof
from guilder.domains.identity.rules.letters import Purpose
from guilder.domains.identity.rules.sessions import EndReason
from guilder.domains.identity.services.authentication import AuthenticationService, SignedIn
from tests.access.effects import Watch
from tests.domains.identity.doors import ADDRESS, actor_of, enrol, log_in
from tests.support.authenticator import Authenticator
from tests.support.constants import CALLER, EMAIL, PASSWORD, STRANGER

STEP = 1 << 40
"""Of time, later than any that was used."""


class Desk:
    """Runs a statement, a second later each time, and counts the rows that it has changed."""

    def __init__(self, runner: Runner, clock: FixedClock) -> None:
        self._runner = runner
        self._clock = clock
        self._watch = Watch(runner.database)

    async def does[**P, T](
        self, statement: Callable[Concatenate[UnitOfWork, P], Awaitable[T]],
        *args: P.args, **more: P.kwargs,
    ) -> tuple[T, int]:  # fmt: skip
        self._clock.advance(seconds=1)
        await self._watch.look()
        async with self._runner.database.begin() as connection:
            uow = UnitOfWork(connection, SYSTEM, self._clock.now_us())
            said = await statement(uow, *args, **more)
        return said, len(await self._watch.changes())


@pytest.fixture
def desk(runner: Runner, clock: FixedClock) -> Desk:
    return Desk(runner, clock)


@pytest.fixture
async def ada(auth: AuthenticationService) -> SignedIn:
    return await auth.sign_up(EMAIL, PASSWORD, None, CALLER, "Browser")


async def make(auth: AuthenticationService, who: SignedIn) -> Passkey:
    options = await auth.passkeys.creation_options(actor_of(who))
    credential = Authenticator(ADDRESS).create(options)
    return await auth.passkeys.add("Phone", credential, actor_of(who))


def proof_of(passkey: Passkey) -> PasskeyProof:
    return PasskeyProof(passkey.id, passkey.sign_count + 1, b"", 0)


async def test_what_is_another_users_is_not_changed(
    auth: AuthenticationService, runner: Runner, clock: FixedClock, ada: SignedIn, desk: Desk
) -> None:
    eve = await auth.sign_up("eve@b.test", PASSWORD, None, STRANGER, None)
    passkey = await make(auth, ada)
    await enrol(auth, ada, clock)
    hash_ = await runner.view(lambda view: view.scalar(select(recovery_codes.c.hash).limit(1)))
    user, session = eve.user.id, ada.session.id
    nothing = (False, 0)
    assert await desk.does(users.dispute, user) == (None, 1)
    assert await desk.does(factors.end_totp, user, STEP) == nothing
    assert await desk.does(factors.end_totp, ada.user.id, STEP) == (True, 1)
    assert await desk.does(factors.keep_totp, user) == nothing
    assert await desk.does(factors.use_step, user, STEP) == nothing
    assert await desk.does(factors.use_recovery_code, user, hash_) == nothing
    assert await desk.does(factors.use_passkey, user, proof_of(passkey)) == nothing
    assert await desk.does(factors.remove_passkey, actor_of(eve), passkey.id) == nothing
    assert await desk.does(factors.mark_stepped_up, session, user, with_factor=True) == nothing
    assert (await desk.does(sessions.end_sessions, EndReason.REVOKED, user, only=session))[1] == 0


async def test_what_is_over_is_not_changed(
    auth: AuthenticationService, runner: Runner, ada: SignedIn, desk: Desk
) -> None:
    user, ended = ada.user.id, (await log_in(auth)).session.id
    await auth.factors.enrol(actor_of(ada))
    assert await desk.does(factors.use_step, user, STEP) == (False, 0)  # not confirmed yet
    for changed in (1, 0):
        told = await desk.does(sessions.end_sessions, EndReason.REVOKED, user, but=ada.session.id)
        assert told == (None, changed)
    assert await desk.does(factors.mark_stepped_up, ended, user, with_factor=True) == (False, 0)
    await runner.run(request_letter, RequestLetter(Purpose.RESET, EMAIL), SYSTEM)
    for changed in (1, 0):
        assert await desk.does(letters.invalidate_tokens, user, Purpose.RESET) == (None, changed)


async def test_no_more_is_changed_than_told(
    auth: AuthenticationService, runner: Runner, clock: FixedClock, ada: SignedIn, desk: Desk
) -> None:
    user, session = ada.user.id, ada.session.id
    await runner.run(request_letter, RequestLetter(Purpose.RESET, EMAIL), SYSTEM)
    await log_in(auth)
    passkey, _ = await make(auth, ada), await make(auth, ada)
    assert await desk.does(factors.use_passkey, user, proof_of(passkey)) == (True, 1)
    assert await desk.does(factors.use_passkey, user, proof_of(passkey)) == (False, 0)
    assert await desk.does(factors.remove_passkey, actor_of(ada), passkey.id) == (True, 1)
    assert await desk.does(factors.mark_stepped_up, session, user, with_factor=True) == (True, 1)
    assert await desk.does(letters.invalidate_tokens, user, Purpose.VERIFICATION) == (None, 1)
    assert await desk.does(sessions.end_sessions, EndReason.REVOKED, user, only=session) == (
        None,
        1,
    )
    await enrol(auth, await log_in(auth), clock)
    assert await desk.does(factors.use_step, user, STEP) == (True, 1)
    assert await desk.does(factors.use_step, user, STEP) == (False, 0)
    first, _ = await runner.view(lambda view: view.all(select(recovery_codes.c.hash).limit(2)))
    assert await desk.does(factors.use_recovery_code, user, first.hash) == (True, 1)
    for ends in ((True, 1), (False, 0)):
        assert await desk.does(factors.end_totp, user, STEP) == ends
    for changed in (1, 0):
        assert await desk.does(factors.keep_totp, user) == (changed == 1, changed)
    await runner.run(request_letter, RequestLetter(Purpose.RESET, EMAIL), SYSTEM)
    newest = select(table.c.id).order_by(table.c.id.desc()).limit(1)
    letter = await runner.view(lambda view: view.scalar(newest))
    assert await desk.does(letters.mark_sent, letter) == (None, 1)
