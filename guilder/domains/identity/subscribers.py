"""What identity does about its own events, and by itself from time to time."""

from typing import Final

from guilder.core.actor import SYSTEM
from guilder.core.events import Delivery, Subscriber, on
from guilder.core.parts import Parts
from guilder.db.run import Runner
from guilder.domains.identity import queries
from guilder.domains.identity.commands.letters import PruneLetters, prune_letters
from guilder.domains.identity.commands.pruning import PruneLogins, has_expired_rows, prune_logins
from guilder.domains.identity.events import (
    LetterRequested,
    LoginClosed,
    NewDeviceSignedIn,
    PasswordChanged,
    SecurityChanged,
)
from guilder.domains.identity.services.letters import LetterSender


async def _asked(parts: Parts, event: LetterRequested, delivery: Delivery) -> None:
    await parts[LetterSender].asked(event, delivery)


async def _password_changed(parts: Parts, event: PasswordChanged, delivery: Delivery) -> None:
    await parts[LetterSender].password_changed(event, delivery)


async def _signed_in_anew(parts: Parts, event: NewDeviceSignedIn, delivery: Delivery) -> None:
    await parts[LetterSender].signed_in_anew(event, delivery)


async def _security_changed(parts: Parts, event: SecurityChanged, delivery: Delivery) -> None:
    await parts[LetterSender].security_changed(event, delivery)


async def _login_closed(parts: Parts, event: LoginClosed, delivery: Delivery) -> None:
    await parts[LetterSender].login_closed(event, delivery)


LETTER_SUBSCRIBER: Final = Subscriber(
    "identity.letters",
    on(LetterRequested, _asked),
    on(PasswordChanged, _password_changed),
    on(NewDeviceSignedIn, _signed_in_anew),
    on(SecurityChanged, _security_changed),
    on(LoginClosed, _login_closed),
)


async def prune_old_letters(runner: Runner) -> int:
    """Prune what has expired; tells how many. Doing it in several processes does no harm."""
    if not await runner.view(queries.has_old_letters):
        return 0
    return await runner.run(prune_letters, PruneLetters(), SYSTEM)


async def prune_old_logins(runner: Runner) -> int:
    """Delete what of logins is over; tells how many rows that were.

    Looks first, so that the audit trail tells only of what was done.
    """
    if not await runner.view(has_expired_rows):
        return 0
    return await runner.run(prune_logins, PruneLogins(), SYSTEM)
