"""Customers who have one row of everything that the audit trail tells digests of."""

from guilder.core.actor import SYSTEM, Actor
from guilder.core.passkeys import Challenge, NewPasskey
from guilder.core.permissions import Role
from guilder.db.run import Runner
from guilder.domains.accounts.repository import AccountRow
from guilder.domains.identity.commands.emails import RequestEmailChange, request_email_change
from guilder.domains.identity.commands.factors import (
    ConfirmTotp,
    EnrolTotp,
    confirm_totp,
    enrol_totp,
)
from guilder.domains.identity.commands.passkeys import AddPasskey, add_passkey
from guilder.domains.identity.commands.rotations import RotateUser, rotate_user
from guilder.domains.identity.commands.sessions import OpenSession, open_session
from guilder.domains.identity.models import totps
from guilder.domains.identity.rules.factors import Totp
from guilder.domains.ledger.commands import SetLimit, set_limit
from tests.support.builders import a_user, an_account


async def a_customer(runner: Runner) -> tuple[Actor, AccountRow]:
    """Signed in, with an account that has a limit, an app, recovery codes and a passkey."""
    user = await a_user(runner)
    actor = Actor(user.id, Role.USER)
    await runner.run(open_session, OpenSession(user.id, b"refresh", "hash"), actor)
    account = await an_account(runner, actor)
    await runner.run(set_limit, SetLimit(account.ledger_number, "day", 10**6), SYSTEM)
    now_us = runner.clock.now_us()
    await runner.run(enrol_totp, EnrolTotp(b"sealed"), actor)
    enrolled = Totp(user.id, b"sealed", await _created_at(runner))
    await runner.run(confirm_totp, ConfirmTotp(enrolled, 1, (b"1" * 32, b"2" * 32)), actor)
    challenge = Challenge(b"challenge", now_us + 10**9)
    await runner.run(
        add_passkey, AddPasskey("key", NewPasskey(b"credential", b"public", 0, challenge)), actor
    )
    await runner.run(rotate_user, RotateUser(user.id, "lost"), SYSTEM)
    await runner.run(request_email_change, RequestEmailChange("new@guilder.example"), actor)
    return actor, account


async def _created_at(runner: Runner) -> int:
    row = await runner.view(lambda view: view.first(totps.select()))
    created_at: int = row.created_at
    return created_at
