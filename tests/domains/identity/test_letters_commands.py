"""Letters beneath HTTP: who gets none, and what becomes of old ones."""

from guilder.core.actor import SYSTEM
from guilder.core.clock import FixedClock
from guilder.db.run import Runner
from guilder.domains.identity.commands.letters import (
    RequestLetter,
    SendLetter,
    request_letter,
    send_letter,
)
from guilder.domains.identity.commands.lockout import CountFailure, count_failure
from guilder.domains.identity.models import letters
from guilder.domains.identity.repository.letters import sessions_before
from guilder.domains.identity.rules.letters import MOST_A_DAY, Purpose
from guilder.domains.identity.rules.lockout import MAX_FAILURES
from guilder.domains.identity.rules.users import User
from guilder.domains.identity.subscribers import prune_old_letters
from tests.db import owner
from tests.support.builders import a_user
from tests.support.constants import EMAIL

DAY_SECONDS = 86_400


async def asked(runner: Runner) -> list[str]:
    """What was asked for, the oldest first."""
    rows = await owner.rows(runner.database.url, "SELECT purpose FROM identity_letters ORDER BY id")
    return [purpose for (purpose,) in rows]


async def send_newest(runner: Runner) -> tuple[object, User] | None:
    newest = letters.select().order_by(letters.c.id.desc())
    row = await runner.view(lambda view: view.first(newest))
    return await runner.run(send_letter, SendLetter(row.id, row.id.bytes * 2), SYSTEM)


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


async def test_who_has_proved_an_address_is_told_of_wrong_guesses_once_a_day(
    runner: Runner, clock: FixedClock
) -> None:
    user = await ada(runner, verified=True)
    for told in (True, False):
        for _ in range(MAX_FAILURES):
            guess = CountFailure(b"k" * 32, user.id, Purpose.LOCK)
            await runner.run(count_failure, guess, SYSTEM)
        assert (await send_newest(runner) is not None) is told
        clock.advance(seconds=DAY_SECONDS // 2)
    assert await asked(runner) == ["lock", "lock"]


async def test_a_mailbox_gets_five_letters_a_day_however_often_a_stranger_asks(
    runner: Runner, clock: FixedClock
) -> None:
    await ada(runner, verified=False)
    purposes = (Purpose.RESET, Purpose.VERIFICATION)
    sent = 0
    for number in range(24 * 6):
        await runner.run(request_letter, RequestLetter(purposes[number % 2], EMAIL), SYSTEM)
        sent += await send_newest(runner) is not None
        clock.advance(seconds=599)
    assert sent == MOST_A_DAY
    clock.advance(seconds=600)
    await runner.run(request_letter, RequestLetter(Purpose.RESET, EMAIL), SYSTEM)
    assert await send_newest(runner) is not None


async def test_nobody_else_is_told_of_wrong_guesses(runner: Runner, clock: FixedClock) -> None:
    user = await ada(runner, verified=False)
    for key, whose, letter in (
        (b"a" * 32, user.id, Purpose.LOCK),  # the address is not proved
        (b"b" * 32, user.id, None),  # on a device of their own
        (b"c" * 32, None, Purpose.LOCK),  # there is no such user
    ):
        clock.advance(seconds=1)
        for _ in range(MAX_FAILURES):
            await runner.run(count_failure, CountFailure(key, whose, letter), SYSTEM)
        assert await send_newest(runner) is None
    assert await asked(runner) == ["verification", "lock", "lock", "lock"]  # all the same work


async def test_a_letter_goes_again_when_the_process_died_on_the_way(runner: Runner) -> None:
    user = await ada(runner, verified=False)
    for _ in range(2):
        sent = await send_newest(runner)
        assert sent is not None
        assert sent[1] == user
    assert await runner.view(lambda view: sessions_before(view, user.id, user.id)) == 0
