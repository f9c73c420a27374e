"""Closing one's login together with one's accounts, which what is on them may forbid."""

from collections.abc import Awaitable, Callable
from uuid import UUID

from guilder.core.actor import Actor
from guilder.db.run import Runner
from guilder.db.unit_of_work import UnitOfWork
from guilder.domains.identity.commands.closing import CloseLogin, close_login, lock_login
from guilder.domains.identity.errors import AccountsHoldMoney
from guilder.domains.identity.rules.users import User

type AccountCloser = Callable[[UnitOfWork, UUID], Awaitable[bool]]
"""Closes all accounts of a user; False when one holds or owes money, or has some of it held."""


class ClosingService:
    """Closes logins; ``close_accounts`` does the same to what they have at the bank."""

    def __init__(self, runner: Runner, close_accounts: AccountCloser) -> None:
        self._runner = runner
        self._close_accounts = close_accounts

    async def close(self, actor: Actor) -> User:
        """Close the actor's login and accounts, or neither.

        Raises ``AccountsHoldMoney``, ``LastAdmin``, or ``Unauthenticated`` without a user.
        """
        return await self._runner.run(self._close, CloseLogin(), actor)

    async def _close(self, uow: UnitOfWork, cmd: CloseLogin) -> User:
        # The user first: whoever opens an account holds its owner before the ledger, too.
        user = await lock_login(uow)
        if not await self._close_accounts(uow, user.id):
            raise AccountsHoldMoney()
        return await close_login(uow, cmd)
