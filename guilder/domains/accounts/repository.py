"""Statements on the accounts' table. Getters take the actor.

``facts`` is the exception: immutable facts for resolving both sides of a transfer, never shown to
a caller before ownership is proven or because they are a counterparty.
"""

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import or_, select

from guilder.core.actor import Actor
from guilder.core.ownership import owns
from guilder.db.ownership import owned_by, readable_by
from guilder.db.unit_of_work import UnitOfWork, View, insert_for_each
from guilder.domains.accounts.models import accounts
from guilder.domains.accounts.rules import CLOSED

_OWNER: Final = accounts.c.owner_user_id


class AccountRow(NamedTuple):
    """A customer's account as stored."""

    id: UUID
    ledger_number: int
    owner_user_id: UUID
    product_code: str
    account_number: str
    currency: str
    name: str
    status: str
    created_at: int


async def insert_accounts(new: Sequence[tuple[UnitOfWork, AccountRow]]) -> list[AccountRow]:
    """Insert accounts, each for its unit of work, and give them back as stored."""
    rows = [(uow, row._asdict()) for uow, row in new]
    return [AccountRow(*row) for row in await insert_for_each(accounts, rows, accounts.c.id)]


async def account(view: View, actor: Actor, account_id: UUID) -> AccountRow | None:
    """One account that the actor may see; if it is not their own, the trail tells that they did."""
    row = await view.first(
        select(accounts).where(accounts.c.id == account_id, readable_by(actor, _OWNER))
    )
    if row is None:
        return None
    if not owns(actor, row.owner_user_id):
        view.tell_read(actor, "account.read", row.id)
    return AccountRow(*row)


async def newest_accounts(
    view: View, actor: Actor, before: int | None, count: int, offset: int
) -> list[AccountRow]:
    """The actor's own accounts, the newest first, on from the ledger number ``before``."""
    statement = select(accounts).where(owned_by(actor, _OWNER))
    if before is not None:
        statement = statement.where(accounts.c.ledger_number < before)
    statement = statement.order_by(accounts.c.ledger_number.desc()).limit(count).offset(offset)
    return [AccountRow(*row) for row in await view.all(statement)]


async def numbers_of(view: View, actor: Actor) -> list[int]:
    """Ledger numbers of the actor's own accounts."""
    rows = await view.all(select(accounts.c.ledger_number).where(owned_by(actor, _OWNER)))
    return [row.ledger_number for row in rows]


async def close_all(uow: UnitOfWork, actor: Actor) -> None:
    """Mark the actor's own accounts as closed."""
    await uow.execute(accounts.update().where(owned_by(actor, _OWNER)).values(status=CLOSED))


async def facts(
    view: View,
    ids: Collection[UUID] = (),
    account_numbers: Collection[str] = (),
    ledger_numbers: Collection[int] = (),
) -> Sequence[AccountRow]:
    """Accounts by any of their three names, whoever owns them; one query."""
    named = (
        (accounts.c.id, ids),
        (accounts.c.account_number, account_numbers),
        (accounts.c.ledger_number, ledger_numbers),
    )
    wanted = [column.in_(values) for column, values in named if values]
    if not wanted:
        return []
    return [AccountRow(*row) for row in await view.all(select(accounts).where(or_(*wanted)))]
