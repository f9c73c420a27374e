"""Reads of the past that never change once they were answered."""

from collections.abc import Awaitable, Callable
from typing import Concatenate

from guilder.db.reader import Reader
from guilder.db.run import Runner
from guilder.domains.ledger import queries
from guilder.domains.ledger.poster import Poster
from guilder.domains.ledger.rules.state import Unit


class PastReader:
    """Answers what was booked by an instant, and closes that instant first if need be.

    A transfer has its instant before it is committed, and the clocks of two processes differ: what
    is read of the present may lack what will be booked for it. So an instant that is over, and is
    younger than the last booking, is closed by the poster, in its turn among all batches: whatever
    is booked later is later.
    """

    def __init__(self, runner: Runner, poster: Poster) -> None:
        self._runner = runner
        self._poster = poster

    async def read[T, **P](
        self,
        until_us: int | None,
        query: Callable[Concatenate[Reader, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a query of what was booked by ``until_us``, inclusive; None is an open end.

        Nothing is closed for an instant still to come, nor for a caller whom the query refuses.
        """

        async def look(view: Reader) -> tuple[T, bool]:
            # Asked first: what is closed now is closed for every later statement, too.
            is_open = until_us is not None and await queries.is_open(view, until_us)
            found = await query(view, *args, **kwargs)
            if is_open:  # nobody sees this answer: the trail tells of the next
                view.told_reads.clear()
            return found, is_open

        found, is_open = await self._runner.read(look)
        if is_open:
            assert until_us is not None
            await self._poster.submit(Unit([], closes_us=until_us))
            found = await self._runner.read(query, *args, **kwargs)
        return found
