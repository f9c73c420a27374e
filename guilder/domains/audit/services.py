"""What brings the trail of a bank that is older than it up to what it is now."""

from guilder.core.actor import SYSTEM
from guilder.db.digest_proof import stock_is_due
from guilder.db.run import Runner
from guilder.domains.audit.commands import BeginSigning, TakeStock, begin_signing, take_stock
from guilder.domains.audit.queries import trail_lacks_keys


async def trail_is_behind(runner: Runner) -> bool:
    """Whether the trail is older than its keys, or than digests of rows."""
    return await runner.view(trail_lacks_keys) or await runner.view(stock_is_due)


async def bring_trail_up(runner: Runner) -> None:
    """Let the next row be the first that carries a key, and the trail tell of rows as they stand.

    Where taking stock was cut short it is done anew.
    """
    if await runner.view(trail_lacks_keys):
        await runner.run(begin_signing, BeginSigning(), SYSTEM)
    if await runner.view(stock_is_due):
        position = await runner.run(take_stock, TakeStock(), SYSTEM)
        while position is not None:
            position = await runner.run(take_stock, TakeStock(position), SYSTEM)
