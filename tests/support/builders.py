"""What a test starts from, made by the bank's own commands. Over HTTP: ``logins``, ``teller``."""

from typing import Any

from guilder.core.actor import SYSTEM, Actor
from guilder.core.permissions import Role
from guilder.db.run import Runner
from guilder.domains.accounts.commands import OpenAccount, open_account
from guilder.domains.accounts.repository import AccountRow
from guilder.domains.identity.commands.users import CreateUser, create_user
from guilder.domains.identity.rules.users import User
from guilder.domains.ledger.poster import Poster
from guilder.domains.ledger.queries import bank_account
from guilder.domains.ledger.rules.state import Posting, PostingResult, Unit
from tests.support.constants import EMAIL


async def a_user(
    runner: Runner, email: str = EMAIL, password_hash: str = "hash", **more: Any
) -> User:
    """Somebody who cannot sign in, unless the hash is one of the bank's."""
    return await runner.run(create_user, CreateUser(email, password_hash, **more), SYSTEM)


async def an_owner(runner: Runner, email: str = EMAIL) -> Actor:
    """A new user as an actor."""
    return Actor((await a_user(runner, email)).id, Role.USER)


async def an_account(
    runner: Runner, owner: Actor, currency: str = "USD", product: str = "checking", **more: Any
) -> AccountRow:
    return await runner.run(open_account, OpenAccount(product, currency, **more), owner)


async def a_transfer(
    poster: Poster, debit: int, credit: int, amount: int, asset: str = "USD"
) -> PostingResult:
    """A transfer between ledger accounts that is booked."""
    outcome = await poster.submit(Unit([Posting(debit, credit, amount, asset)]))
    outcome.results[0].raise_refused()
    return outcome.results[0]


async def a_deposit(
    runner: Runner, poster: Poster, account: int, amount: int, asset: str = "USD"
) -> PostingResult:
    """Money from outside, from the bank's settlement account."""
    settlement = await runner.view(bank_account, asset, "settlement")
    assert settlement is not None
    return await a_transfer(poster, settlement, account, amount, asset)
