"""Letters beneath HTTP: who gets none, and what becomes of old ones."""

import re

import pytest
from sqlalchemy import select

from guilder.core.actor import SYSTEM, Actor
from guilder.core.clock import FixedClock
from guilder.core.events import Delivery, DeliveryFailed
from guilder.core.permissions import Role
from guilder.core.ports import Mail, MailNotSent
from guilder.core.tokens import opaque_hash
from guilder.db.run import Runner
from guilder.db.unit_of_work import View
from guilder.domains.identity.commands.emails import RequestEmailChange, request_email_change
from guilder.domains.identity.commands.letters import (
    ClaimedLetter,
    LetterClaim,
    MarkLetterSent,
    RequestLetter,
    ResetPassword,
    SendLetter,
    mark_letter_sent,
    request_letter,
    reset_password,
    send_letter,
    user_of_token,
)
from guilder.domains.identity.errors import TokenExpired
from guilder.domains.identity.events import LetterRequested
from guilder.domains.identity.models import letters
from guilder.domains.identity.repository.letters import has_sent_since, sessions_before
from guilder.domains.identity.rules.letters import MOST_A_DAY, MOST_OF_OTHERS, Letter, Purpose
from guilder.domains.identity.rules.lockout import MAX_FAILURES
from guilder.domains.identity.rules.users import User
from guilder.domains.identity.services.letters import LETTERS, LetterSender
from guilder.domains.identity.subscribers import prune_old_letters
from guilder.infra.mail.letters import Letters
from guilder.infra.security.tokens import LetterTokens
from tests.db import owner
from tests.domains.identity.doors import ADDRESS, SECRET, guess_wrongly
from tests.support.builders import a_user, an_owner
from tests.support.constants import EMAIL

DAY_SECONDS = 86_400
SHOUTED = EMAIL.upper()


async def asked(runner: Runner) -> list[str]:
    """What was asked for, the oldest first."""
    rows = await owner.rows(runner.database.url, "SELECT purpose FROM identity_letters ORDER BY id")
    return [purpose for (purpose,) in rows]


async def send_newest(runner: Runner) -> ClaimedLetter | None:
    newest = letters.select().order_by(letters.c.id.desc())
    row = await runner.view(lambda view: view.first(newest))
    found = await runner.run(send_letter, SendLetter(row.id, row.id.bytes * 2), SYSTEM)
    if isinstance(found, LetterClaim):
        return None
    await runner.run(mark_letter_sent, MarkLetterSent(row.id), SYSTEM)
    return found


async def ada(runner: Runner, *, verified: bool) -> User:
    return await a_user(runner, email_verified=verified)


async def test_old_letters_are_forgotten(runner: Runner, clock: FixedClock) -> None:
    await ada(runner, verified=False)
    clock.advance(seconds=DAY_SECONDS)
    await runner.run(request_letter, RequestLetter(Purpose.RESET, EMAIL), SYSTEM)
    assert await asked(runner) == ["verification", "reset"]
    assert await prune_old_letters(runner) == 0
    clock.advance(seconds=DAY_SECONDS + 1)
    assert await prune_old_letters(runner) == 1
    assert await asked(runner) == ["reset"]
    clock.advance(seconds=DAY_SECONDS)
    assert await prune_old_letters(runner) == 1
    attempts = "SELECT count(*) FROM audit_events WHERE action = 'letter.prune'"
    before = await owner.rows(runner.database.url, attempts)
    assert await prune_old_letters(runner) == 0
    assert await owner.rows(runner.database.url, attempts) == before  # nothing done, no trace


async def test_changes_of_addresses_are_forgotten_after_thirty_days(
    runner: Runner, clock: FixedClock
) -> None:
    who = Actor((await ada(runner, verified=True)).id, Role.USER)
    for address, days in (("first@example.test", 20), ("second@example.test", 10)):
        await runner.run(request_email_change, RequestEmailChange(address), who)
        clock.advance(seconds=days * DAY_SECONDS)
    clock.advance(seconds=1)
    assert await prune_old_letters(runner) == 2
    left = await owner.rows(runner.database.url, "SELECT new_email FROM identity_email_changes")
    assert [email for (email,) in left] == ["second@example.test"]


async def test_who_has_proved_an_address_is_told_of_wrong_guesses_once_a_day(
    runner: Runner, clock: FixedClock
) -> None:
    user = await ada(runner, verified=True)
    for told in (True, False):
        for _ in range(MAX_FAILURES):
            await guess_wrongly(runner, b"k" * 32, user.id, Purpose.LOCK)
        assert (await send_newest(runner) is not None) is told
        clock.advance(seconds=DAY_SECONDS // 2)
    assert await asked(runner) == ["lock", "lock"]


async def test_a_mailbox_gets_five_letters_a_day_however_often_a_stranger_asks(
    runner: Runner, clock: FixedClock
) -> None:
    await ada(runner, verified=False)
    purposes = (Purpose.RESET, Purpose.VERIFICATION)
    sent = 0
    for number in range(24):
        await runner.run(request_letter, RequestLetter(purposes[number % 2], EMAIL), SYSTEM)
        sent += await send_newest(runner) is not None
        clock.advance(seconds=3_599)
    assert sent == MOST_A_DAY
    clock.advance(seconds=3_600)
    await runner.run(request_letter, RequestLetter(Purpose.RESET, EMAIL), SYSTEM)
    assert await send_newest(runner) is not None


async def reset_goes(runner: Runner, clock: FixedClock) -> bool:
    """Ask for a new password, once the last letter of the kind is long enough ago."""
    clock.advance(minutes=4)
    await runner.run(request_letter, RequestLetter(Purpose.RESET, EMAIL), SYSTEM)
    return await send_newest(runner) is not None


async def test_others_who_change_to_an_address_leave_room_for_the_letters_of_its_owner(
    runner: Runner, clock: FixedClock
) -> None:
    thieves = [await an_owner(runner, f"thief{number}@example.test") for number in range(3)]

    async def change_goes(thief: Actor, address: str) -> bool:
        clock.advance(seconds=1)
        await runner.run(request_email_change, RequestEmailChange(address), thief)
        return await send_newest(runner) is not None

    sent = [await change_goes(thief, typed) for thief in thieves for typed in (EMAIL, SHOUTED)]
    assert sent == [True] * MOST_OF_OTHERS + [False] * 3
    assert await change_goes(thieves[0], "another@example.test")  # each mailbox has its own
    clock.advance(seconds=1)
    await ada(runner, verified=False)
    assert await send_newest(runner) is not None  # the link to confirm the address
    assert await reset_goes(runner, clock)
    assert not await reset_goes(runner, clock)  # five in all


async def test_warnings_go_beside_the_letters_that_somebody_has_asked_for(
    runner: Runner, clock: FixedClock
) -> None:
    user = await ada(runner, verified=True)

    async def warning_goes(purpose: Purpose) -> bool:
        clock.advance(seconds=1)
        await guess_wrongly(runner, None, user.id, purpose)
        return await send_newest(runner) is not None

    assert await warning_goes(Purpose.LOCK)
    assert await warning_goes(Purpose.CODES)
    assert [await reset_goes(runner, clock) for _ in range(MOST_A_DAY)] == [True] * MOST_A_DAY
    assert await warning_goes(Purpose.SESSION)
    assert await warning_goes(Purpose.WITHOUT_CODE)
    assert not await reset_goes(runner, clock)


async def test_nobody_else_is_told_of_wrong_guesses(runner: Runner, clock: FixedClock) -> None:
    user = await ada(runner, verified=False)
    for key, whose, letter in (
        (b"a" * 32, user.id, Purpose.LOCK),  # the address is not proved
        (b"b" * 32, user.id, None),  # on a device of their own
        (b"c" * 32, None, Purpose.LOCK),  # there is no such user
    ):
        clock.advance(seconds=1)
        for _ in range(MAX_FAILURES):
            await guess_wrongly(runner, key, whose, letter)
        assert await send_newest(runner) is None
    assert await asked(runner) == ["verification", "lock", "lock", "lock"]  # all the same work


async def test_a_letter_goes_again_when_the_process_died_on_the_way(runner: Runner) -> None:
    user = await ada(runner, verified=False)
    for _ in range(2):
        sent = await send_newest(runner)
        assert sent is not None
        assert sent.user == user
    assert await runner.view(lambda view: sessions_before(view, user.id, user.id)) == 0


class Post:
    """A mail server that can be down, and what has arrived."""

    def __init__(self) -> None:
        self.is_down = False
        self.arrived: list[Mail] = []

    async def send(self, mail: Mail) -> None:
        if self.is_down:
            raise MailNotSent("down")
        self.arrived.append(mail)


def sender_of(runner: Runner, post: Post) -> LetterSender:
    tokens = LetterTokens(SECRET)
    writer = Letters("Bank", ADDRESS, LETTERS)
    return LetterSender(runner, tokens, writer, post, ADDRESS)


async def request(runner: Runner, purpose: Purpose = Purpose.RESET) -> LetterRequested:
    stored = select(letters.c.id).where(letters.c.purpose == purpose.value)
    before = {row.id for row in await runner.view(lambda view: view.all(stored))}
    await runner.run(request_letter, RequestLetter(purpose, EMAIL), SYSTEM)
    after = {row.id for row in await runner.view(lambda view: view.all(stored))}
    (new,) = after - before
    return LetterRequested(new)


async def attempt(sender: LetterSender, event: LetterRequested, clock: FixedClock) -> None:
    now = clock.now_us()
    delivery = Delivery(1, "identity.letters", event.type, event.stream, {}, now, 1)
    await sender.asked(event, delivery)


def token_of(mail: Mail) -> bytes:
    found = re.search(r"#token=([\w-]{43})", mail.text)
    assert found is not None
    return opaque_hash(found[1])


async def test_the_life_of_a_link_begins_when_the_letter_goes(
    runner: Runner, clock: FixedClock
) -> None:
    user = await ada(runner, verified=True)
    post = Post()
    sender = sender_of(runner, post)
    waiting = await request(runner)
    post.is_down = True
    for _ in range(2):  # 16 minutes, an attempt at either end
        with pytest.raises(MailNotSent):
            await attempt(sender, waiting, clock)
        clock.advance(minutes=8)
    post.is_down = False
    await attempt(sender, waiting, clock)
    clock.advance(minutes=14, seconds=59)
    hash_ = token_of(post.arrived[0])
    assert (await runner.view(user_of_token, hash_, Purpose.RESET)).id == user.id
    clock.advance(seconds=1)
    with pytest.raises(TokenExpired):
        await runner.view(user_of_token, hash_, Purpose.RESET)


async def test_only_a_letter_that_went_holds_back_the_next(
    runner: Runner, clock: FixedClock
) -> None:
    await ada(runner, verified=True)
    post = Post()
    sender = sender_of(runner, post)
    first = await request(runner)
    post.is_down = True
    with pytest.raises(MailNotSent):
        await attempt(sender, first, clock)
    post.is_down = False
    clock.advance(seconds=61)
    await attempt(sender, await request(runner), clock)
    assert len(post.arrived) == 1  # it is not swallowed for the sake of one that did not arrive
    await attempt(sender, first, clock)
    assert len(post.arrived) == 1  # and the first one comes too late


async def test_a_letter_waits_for_one_that_is_under_way(
    runner: Runner, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guilder.domains.identity.services.letters.WAIT_SECONDS", 0.0)
    await ada(runner, verified=True)
    post = Post()
    sender = sender_of(runner, post)
    first = await request(runner)
    await runner.run(send_letter, SendLetter(first.letter_id, b"h" * 32), SYSTEM)
    with pytest.raises(DeliveryFailed):
        await attempt(sender, await request(runner), clock)
    assert post.arrived == []


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)  # SQLite writes one by one
async def test_a_letter_that_goes_while_the_next_one_asks_for_it_is_seen(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ada(runner, verified=True)
    first, second = await request(runner), await request(runner)
    await runner.run(send_letter, SendLetter(first.letter_id, b"h" * 32), SYSTEM)

    async def asked_just_before_it_went(view: View, letter: Letter, instant: int) -> bool:
        found = await has_sent_since(view, letter, instant)
        await runner.run(mark_letter_sent, MarkLetterSent(first.letter_id), SYSTEM)
        return found

    where = "guilder.domains.identity.repository.letters.has_sent_since"
    monkeypatch.setattr(where, asked_just_before_it_went)
    claimed = await runner.run(send_letter, SendLetter(second.letter_id, b"i" * 32), SYSTEM)
    assert claimed is LetterClaim.LATER


@pytest.mark.parametrize(("purpose", "hours"), [(Purpose.RESET, 1), (Purpose.VERIFICATION, 24)])
async def test_a_letter_that_has_waited_too_long_is_not_sent(
    runner: Runner, clock: FixedClock, purpose: Purpose, hours: int
) -> None:
    await ada(runner, verified=purpose is Purpose.RESET)
    post = Post()
    sender = sender_of(runner, post)
    waiting = await request(runner, purpose)
    clock.advance(hours=hours)
    await attempt(sender, waiting, clock)
    assert post.arrived == []


async def test_a_letter_that_still_waits_is_not_sent_after_another_was_used(
    runner: Runner, clock: FixedClock
) -> None:
    await ada(runner, verified=True)
    post = Post()
    sender = sender_of(runner, post)
    first, second = await request(runner), await request(runner)
    await attempt(sender, first, clock)
    command = ResetPassword(token_of(post.arrived[0]), "hash", None)
    await runner.run(reset_password, command, SYSTEM)
    clock.advance(minutes=10)
    await attempt(sender, second, clock)
    assert len(post.arrived) == 1
