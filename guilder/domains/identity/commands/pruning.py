"""What is over is deleted: counts of failures, refresh tokens, and in the end sessions."""

from dataclasses import dataclass
from typing import ClassVar, Final

from guilder.core.clock import DAY_US
from guilder.db.unit_of_work import UnitOfWork, View
from guilder.domains.identity.repository import pruning
from guilder.domains.identity.rules.lockout import LOCK_US
from guilder.domains.identity.rules.users import SIGN_UP_US

TOKENS_KEPT_US: Final = DAY_US
"""Until a session has ended, its used tokens tell when one is used again. Afterwards every one of
them is refused alike, known or not; the day is for clocks that differ."""
SESSIONS_KEPT_US: Final = 90 * DAY_US
"""How long an ended session is shown to its owner, and its device counts as known."""
MAX_PRUNED_ROWS: Final = 5_000
"""Of each kind in one transaction, so that nobody waits long for it."""


@dataclass(frozen=True, slots=True)
class PruneLogins:
    """Delete what nobody needs any more, at most ``most`` rows of each kind."""

    action: ClassVar[str] = "identity.prune"
    most: int = MAX_PRUNED_ROWS


async def prune_logins(uow: UnitOfWork, cmd: PruneLogins) -> int:
    """Delete it and tell how many rows that were."""
    before = _limits(uow)
    return (
        await pruning.drop_failures(uow, before[0], cmd.most)
        + await pruning.drop_tokens(uow, before[1], cmd.most)
        + await pruning.drop_sessions(uow, before[2], cmd.most)
        + await pruning.drop_sign_ups(uow, before[3], cmd.most)
    )


async def has_expired_rows(view: View) -> bool:
    """Whether there is anything to delete."""
    return await pruning.has_expired_rows(view, *_limits(view))


def _limits(view: View) -> tuple[int, int, int, int]:
    """Before which instants failures, tokens of ended sessions, such sessions, and repeated
    sign-ups are over.
    """
    now_us = view.now_us
    kept = (LOCK_US, TOKENS_KEPT_US, SESSIONS_KEPT_US, SIGN_UP_US)
    return now_us - kept[0], now_us - kept[1], now_us - kept[2], now_us - kept[3]
