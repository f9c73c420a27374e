"""What the audit trail says of sign-ins and step-ups: each that is tried, and how it ended."""

import json
from collections.abc import Awaitable
from typing import Any

import pytest
from sqlalchemy import select

from guilder.core.actor import SYSTEM, Actor
from guilder.core.clock import MINUTE_US, FixedClock
from guilder.core.errors import Refusal
from guilder.db.audit import audit_events
from guilder.db.deliveries import deliveries
from guilder.db.run import Runner
from guilder.domains.identity.commands.letters import (
    LetterClaim,
    MarkLetterSent,
    SendLetter,
    mark_letter_sent,
    send_letter,
)
from guilder.domains.identity.events import LetterRequested
from guilder.domains.identity.models import letters, users
from guilder.domains.identity.services.authentication import AuthenticationService, SignedIn
from tests.domains.identity.codes import code_at
from tests.domains.identity.doors import ADDRESS, WRONG, actor_of, enrol, log_in
from tests.support.authenticator import Authenticator
from tests.support.constants import CALLER, EMAIL, PASSWORD, STRANGER

type Row = tuple[str, str, str | None, str | None, dict[str, Any]]


@pytest.fixture
async def ada(auth: AuthenticationService) -> SignedIn:
    return await auth.sign_up(EMAIL, PASSWORD, None, CALLER, "Browser")


async def trail(runner: Runner, after: int = 0) -> list[Row]:
    """Action, phase, code, subject and details of every row after a number."""
    c = audit_events.c
    rows = await runner.view(
        lambda view: view.all(select(audit_events).where(c.id > after).order_by(c.id))
    )
    return [(r.action, r.phase, r.code, r.subject, json.loads(r.detail or "{}")) for r in rows]


async def told(runner: Runner, tried: Awaitable[object]) -> tuple[str | None, list[Row]]:
    """The code of what was tried and refused, and what the trail says of it."""
    before = len(await trail(runner))
    code = None
    try:
        await tried
    except Refusal as refusal:
        code = refusal.code
    return code, await trail(runner, before)


def failed(action: str, code: str, who: SignedIn | None, **detail: object) -> list[Row]:
    subject = None if who is None else str(who.user.id)
    return [
        (action, "attempted", None, None, {}), (action, "failed", code, subject, detail),
    ]  # fmt: skip


async def test_a_sign_in_is_told_with_the_factors_used(
    auth: AuthenticationService, runner: Runner, clock: FixedClock, ada: SignedIn
) -> None:
    phone = Authenticator(ADDRESS)
    options = await auth.passkeys.creation_options(actor_of(ada))
    await auth.passkeys.add("Phone", phone.create(options), actor_of(ada))

    async def factors(tried: Awaitable[SignedIn]) -> object:
        before = len(await trail(runner))
        session = (await tried).session
        attempted, (action, phase, code, subject, detail) = await trail(runner, before)
        assert attempted == ("session.open", "attempted", None, None, {})
        assert (action, phase, code) == ("session.open", "succeeded", None)
        assert (subject, detail.pop("session")) == (str(ada.user.id), str(session.id))
        return detail

    assert await factors(log_in(auth)) == {"factors": ["password"]}
    signed = phone.get(auth.passkeys.request_options())
    by_passkey = auth.log_in_with_passkey(signed, CALLER, "Browser")
    assert await factors(by_passkey) == {"factors": ["passkey"]}
    secret, recovery = await enrol(auth, ada, clock)
    clock.advance(seconds=30)
    with_code = log_in(auth, code_at(secret, clock))
    assert await factors(with_code) == {"factors": ["password", "totp"]}
    with_paper = log_in(auth, recovery[0])
    assert await factors(with_paper) == {"factors": ["password", "recovery_code"]}


async def test_a_refused_sign_in_has_failed_with_its_code(
    auth: AuthenticationService, runner: Runner, clock: FixedClock, ada: SignedIn
) -> None:
    refused = "session.open"

    async def tried(word: str) -> SignedIn:
        return await auth.log_in(EMAIL, word, STRANGER, "Robot")

    assert await told(runner, tried("wrong horse")) == (
        "invalid_credentials", failed(refused, "invalid_credentials", ada, locked=False),
    )  # fmt: skip
    assert await told(runner, auth.log_in("nobody@b.test", "wrong horse", STRANGER, None)) == (
        "invalid_credentials", failed(refused, "invalid_credentials", None, locked=False),
    )  # fmt: skip
    nobodys = Authenticator(ADDRESS)
    nobodys.create(await auth.passkeys.creation_options(actor_of(ada)))
    by_passkey = auth.log_in_with_passkey(
        nobodys.get(auth.passkeys.request_options()), STRANGER, "Robot"
    )
    assert await told(runner, by_passkey) == (
        "invalid_passkey", failed(refused, "invalid_passkey", None),
    )  # fmt: skip
    await enrol(auth, ada, clock)
    assert await told(runner, tried(PASSWORD)) == (
        "second_factor_required", failed(refused, "second_factor_required", ada),
    )  # fmt: skip
    assert await told(runner, log_in(auth, WRONG, STRANGER, "Robot")) == (
        "invalid_second_factor", failed(refused, "invalid_second_factor", ada, locked=False),
    )  # fmt: skip
    auth.requires_verification = True
    assert await told(runner, tried(PASSWORD)) == (
        "email_unverified", failed(refused, "email_unverified", ada, locked=False),
    )  # fmt: skip


async def test_the_owner_is_told_of_a_password_without_a_code_that_led_nowhere(
    auth: AuthenticationService, runner: Runner, clock: FixedClock, ada: SignedIn
) -> None:
    """Five minutes later, unless they have signed in meanwhile; and once a day."""
    runner._routes = {LetterRequested.type: ("letters",)}
    secret, _ = await enrol(auth, ada, clock)
    async with runner.database.begin() as connection:
        await connection.execute(users.update().values(email_verified=True))

    async def is_sent(*, is_finished: bool) -> bool:
        await told(runner, log_in(auth, None, STRANGER, "Robot"))
        own = letters.select().where(letters.c.purpose == "without_code")
        newest = own.order_by(letters.c.id.desc()).limit(1)
        row = await runner.view(lambda view: view.first(newest))
        due = select(deliveries.c.due_at).order_by(deliveries.c.event_id.desc()).limit(1)
        assert await runner.view(lambda view: view.scalar(due)) == clock.now_us() + 5 * MINUTE_US
        clock.advance(seconds=300)
        if is_finished:
            await log_in(auth, code_at(secret, clock))
        sent = await runner.run(send_letter, SendLetter(row.id, row.id.bytes * 2), SYSTEM)
        if not isinstance(sent, LetterClaim):
            await runner.run(mark_letter_sent, MarkLetterSent(row.id), SYSTEM)
        return not isinstance(sent, LetterClaim)

    for is_finished, wanted in ((True, False), (False, True), (False, False)):
        assert await is_sent(is_finished=is_finished) is wanted
        clock.advance(seconds=60)


async def test_attempts_while_locked_are_told(
    auth: AuthenticationService, runner: Runner, clock: FixedClock, ada: SignedIn
) -> None:
    for number in range(5):
        code, rows = await told(runner, auth.log_in(EMAIL, "wrong horse", STRANGER, "Robot"))
        assert (code, rows[-1][-1]) == ("invalid_credentials", {"locked": number == 4})
    locked = failed("session.open", "account_locked", ada)
    for password in ("wrong horse", PASSWORD):
        tried = auth.log_in(EMAIL, password, STRANGER, "Robot")
        assert await told(runner, tried) == ("account_locked", locked)
    await enrol(auth, ada, clock)
    for _ in range(5):
        await told(runner, log_in(auth, WRONG))
    assert await told(runner, log_in(auth, WRONG)) == ("account_locked", locked)


async def test_refused_step_ups_and_confirmations_are_told(
    auth: AuthenticationService, runner: Runner, clock: FixedClock, ada: SignedIn
) -> None:
    who = actor_of(ada)
    wrong = ("wrong_password", failed("session.step_up", "wrong_password", ada, locked=False))
    assert await told(runner, auth.step_up_with_password("wrong horse", who)) == wrong
    phone = Authenticator(ADDRESS)
    phone.create(await auth.passkeys.creation_options(who))
    signed = phone.get(auth.passkeys.request_options())
    refused = ("wrong_factor", failed("session.step_up", "wrong_factor", ada))
    assert await told(runner, auth.step_up_with_passkey(signed, who)) == refused
    assert await told(runner, auth.step_up_with_code(WRONG, who)) == refused  # there is no app
    bent = auth.passkeys.add("Phone", {**signed, "type": "public-key"}, who)
    assert await told(runner, bent) == (
        "wrong_factor", failed("passkey.add", "wrong_factor", None),
    )  # fmt: skip
    secret = (await auth.factors.enrol(who)).secret
    assert await told(runner, auth.factors.confirm(WRONG, who)) == (
        "wrong_factor", failed("totp.confirm", "wrong_factor", ada),
    )  # fmt: skip
    await auth.factors.confirm(code_at(secret, clock), who)
    counted = ("wrong_factor", failed("session.step_up", "wrong_factor", ada, locked=False))
    assert await told(runner, auth.step_up_with_code(WRONG, who)) == counted
    clock.advance(seconds=30)
    code, rows = await told(runner, auth.step_up_with_code(code_at(secret, clock), who))
    assert (code, rows[-1][1:]) == (
        None, ("succeeded", None, str(ada.user.id), {"factors": ["totp"]}),
    )  # fmt: skip


async def test_a_refused_change_of_the_password_has_failed(
    auth: AuthenticationService, runner: Runner, ada: SignedIn
) -> None:
    who, action = actor_of(ada), "user.change_password"
    wrong = [failed(action, "wrong_password", ada, locked=number == 4) for number in range(5)]
    for rows in (*wrong, failed(action, "account_locked", ada)):
        changing = auth.change_password("wrong horse", "another password", who)
        assert await told(runner, changing) == (rows[-1][2], rows)


async def test_whoever_asks_for_failures_finds_every_refused_sign_in(
    auth: AuthenticationService, runner: Runner, ada: SignedIn
) -> None:
    """And nothing that was refused is told as done."""
    switched_off = users.update().values(is_active=False)
    await told(runner, auth.log_in(EMAIL, "wrong horse", STRANGER, "Robot"))
    async with runner.database.begin() as connection:
        await connection.execute(switched_off)
    await told(runner, auth.log_in(EMAIL, PASSWORD, STRANGER, "Robot"))
    nobody = Actor(None, None, "request-9", "203.0.113.10")
    await told(runner, auth.log_in("nobody@b.test", PASSWORD, nobody, None))
    rows = [row for row in await trail(runner) if row[0] == "session.open"]
    assert [(phase, code) for _, phase, code, *_ in rows] == [
        ("attempted", None), ("failed", "invalid_credentials"),
    ] * 3  # fmt: skip
