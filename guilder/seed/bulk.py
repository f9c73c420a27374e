"""Many users and transfers, fast: through the commands' own functions and the ledger's batches."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import batched
from typing import ClassVar, Final

from guilder.bootstrap import Bank
from guilder.core.actor import SYSTEM, Actor
from guilder.core.ids import uuid7
from guilder.core.permissions import Role
from guilder.db.unit_of_work import UnitOfWork
from guilder.domains.accounts.commands import OpenAccount, open_account
from guilder.domains.identity.commands.users import CreateUser, create_user
from guilder.domains.ledger.commands import EnsureBankAccounts, ensure_bank_accounts
from guilder.domains.ledger.queries import bank_now
from guilder.domains.ledger.rules.state import Posting, Unit
from guilder.seed.people import PASSWORD

USERS_A_COMMAND: Final = 250
TRANSFERS_A_UNIT: Final = 1_000
START_AMOUNT: Final = 1_000_000
CURRENCY: Final = "EUR"

type BulkProgress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class SeedUsers:
    """Make users ``first`` to ``last`` of a run, each with one account."""

    action: ClassVar[str] = "seed.users"
    run: str
    first: int
    last: int
    password_hash: str


async def seed_users(uow: UnitOfWork, cmd: SeedUsers) -> list[int]:
    """Users and accounts through their own commands; gives the accounts' ledger numbers."""
    numbers = []
    for index in range(cmd.first, cmd.last + 1):
        email = f"user{index}.{cmd.run}@seed.guilder.dev"
        made = CreateUser(email, cmd.password_hash, f"User {index}", email_verified=True)
        user = await create_user(uow, made)
        owned = uow.acting_as(Actor(user.id, Role.USER))
        account = await open_account(owned, OpenAccount("checking", CURRENCY))
        numbers.append(account.ledger_number)
    return numbers


async def seed_bulk(bank: Bank, users: int, transfers: int, progress: BulkProgress) -> None:
    """Add ``users`` with one funded account each, and ``transfers`` between random pairs.

    A run adds new users each time; all have the demo's password. Raises ``ValueError`` for
    transfers between fewer than two users.
    """
    if transfers and users < 2:
        raise ValueError("transfers need at least two users")
    run = uuid7(bank.clock.now_us()).hex[-12:]
    password_hash = await bank.passwords.hash(PASSWORD)
    numbers: list[int] = []
    for first in range(1, users + 1, USERS_A_COMMAND):
        last = min(users, first + USERS_A_COMMAND - 1)
        command = SeedUsers(run, first, last, password_hash)
        numbers += await bank.runner.run(seed_users, command, SYSTEM)
        progress("users", len(numbers), users)
    settlement = await _settlement(bank)
    for some in batched(numbers, TRANSFERS_A_UNIT):
        await _post(bank, [_deposit(settlement, number) for number in some])
    chance = random.Random(run)  # noqa: S311 - made-up traffic
    done = 0
    while done < transfers:
        count = min(TRANSFERS_A_UNIT, transfers - done)
        await _post(bank, [_transfer(chance, numbers) for _ in range(count)])
        done += count
        progress("transfers", done, transfers)


async def _settlement(bank: Bank) -> int:
    opened_at = await bank.runner.view(bank_now)
    command = EnsureBankAccounts(CURRENCY, opened_at)
    return (await bank.runner.run(ensure_bank_accounts, command, SYSTEM))["settlement"]


async def _post(bank: Bank, postings: list[Posting]) -> None:
    await bank.poster.submit(Unit(postings))


def _deposit(settlement: int, number: int) -> Posting:
    return Posting(settlement, number, START_AMOUNT, CURRENCY, description="Opening balance")


def _transfer(chance: random.Random, numbers: list[int]) -> Posting:
    debit, credit = chance.sample(numbers, 2)
    return Posting(debit, credit, chance.randint(1, 5_000), CURRENCY, description="Seeded transfer")
