"""Periodic work of the ledger: holds whose time has come give their money back."""

from guilder.db.run import Runner
from guilder.domains.ledger import queries
from guilder.domains.ledger.poster import Poster
from guilder.domains.ledger.rules.state import Kind, Posting, Unit


async def expire_due_holds(runner: Runner, poster: Poster) -> int:
    """Post the expiry of every due hold; tells how many were due.

    They count no more from their time on: this makes the books say so. Safe in several processes at
    once: a hold is spent once, the second is refused.
    """
    found = 0
    while due := await runner.view(queries.due_holds):
        expiries = [Posting(0, 0, 0, "", Kind.EXPIRY, ref=number) for number in due]
        outcome = await poster.submit(Unit(expiries))
        found += len(due)
        if all(result.refusal is not None for result in outcome.results):
            break
    return found
