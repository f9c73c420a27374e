"""Periodic work of the ledger: holds whose time has come give their money back."""

from guilder.db.run import Runner
from guilder.domains.ledger import queries
from guilder.domains.ledger.poster import Poster
from guilder.domains.ledger.rules.state import Kind, Posting, Unit


async def expire_due_holds(runner: Runner, poster: Poster) -> int:
    """Post the expiry of every due hold; tells how many were due.

    Safe in several processes at once: a hold is spent once, the second is refused.
    """
    due = await runner.view(queries.due_holds)
    if due:
        expiries = [Posting(0, 0, 0, "", Kind.EXPIRY, ref=number) for number in due]
        await poster.submit(Unit(expiries))
    return len(due)
