"""Statements on the accounts' table. Getters take the actor.

``facts`` and ``facts_by_name`` are the exception: immutable facts for resolving both sides of a
transfer, never shown to a caller before ownership is proven or because they are a counterparty.
"""

from collections.abc import Collection, Sequence
from functools import cache
from operator import attrgetter, itemgetter
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import bindparam, select

from guilder.core.actor import Actor
from guilder.core.ownership import may_read, owns
from guilder.db.ownership import owned, owned_by
from guilder.db.prepared import ANY_KEY, Keyed, Prepared
from guilder.db.reader import Reader
from guilder.db.unit_of_work import UnitOfWork, insert_for_each
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


_c: Final = accounts.c
_BY_ID: Final[Keyed[UUID, AccountRow]] = Keyed(
    select(accounts).where(_c.id.in_(ANY_KEY)), AccountRow._make, attrgetter("id")
)
_BY_LEDGER_NUMBER: Final[Keyed[int, AccountRow]] = Keyed(
    select(accounts).where(_c.ledger_number.in_(ANY_KEY)),
    AccountRow._make,
    attrgetter("ledger_number"),
)
_BY_ACCOUNT_NUMBER: Final[Keyed[str, AccountRow]] = Keyed(
    select(accounts).where(_c.account_number.in_(ANY_KEY)),
    AccountRow._make,
    attrgetter("account_number"),
)


async def account(view: Reader, actor: Actor, account_id: UUID) -> AccountRow | None:
    """One account that the actor may see; if it is not their own, the trail tells that they did."""
    row = (await view.keyed(_BY_ID, (account_id,))).get(account_id)
    if row is None or not may_read(actor, row.owner_user_id):
        return None
    if not owns(actor, row.owner_user_id):
        view.tell_read(actor, "account.read", row.id)
    return row


@cache
def _newest(cursor: bool) -> Prepared[AccountRow]:
    statement = select(accounts).where(owned(_OWNER))
    if cursor:
        statement = statement.where(_c.ledger_number < bindparam("before"))
    statement = statement.order_by(_c.ledger_number.desc())
    paged = statement.limit(bindparam("count")).offset(bindparam("skipped"))
    return Prepared(paged, AccountRow._make)


async def newest_accounts(
    view: Reader, actor: Actor, before: int | None, count: int, offset: int
) -> list[AccountRow]:
    """The actor's own accounts, the newest first, on from the ledger number ``before``."""
    return await view.rows(
        _newest(before is not None),
        owner=actor.acts_for,
        before=before,
        count=count,
        skipped=offset,
    )


_NUMBERS: Final[Prepared[int]] = Prepared(
    select(_c.ledger_number).where(owned(_OWNER)), itemgetter(0)
)


async def numbers_of(view: Reader, actor: Actor) -> list[int]:
    """Ledger numbers of the actor's own accounts."""
    return await view.rows(_NUMBERS, owner=actor.acts_for)


async def close_all(uow: UnitOfWork, actor: Actor) -> None:
    """Mark the actor's own accounts as closed."""
    await uow.execute(accounts.update().where(owned_by(actor, _OWNER)).values(status=CLOSED))


_NAMES: Final[Keyed[int, tuple[int, str]]] = Keyed(
    select(_c.ledger_number, _c.name).where(_c.ledger_number.in_(ANY_KEY)), tuple, itemgetter(0)
)


async def own_names(view: Reader, numbers: Collection[int]) -> dict[int, str]:
    """What owners call their accounts, by ledger number."""
    return dict((await view.keyed(_NAMES, numbers)).values())


async def facts(view: Reader, numbers: Collection[int]) -> dict[int, AccountRow]:
    """Accounts by their ledger numbers, whoever owns them."""
    return await view.keyed(_BY_LEDGER_NUMBER, numbers)


async def facts_by_name(
    view: Reader, ids: Collection[UUID], account_numbers: Collection[str]
) -> tuple[dict[UUID, AccountRow], dict[str, AccountRow]]:
    """Accounts by their ids and by their account numbers, whoever owns them."""
    return await view.keyed(_BY_ID, ids), await view.keyed(_BY_ACCOUNT_NUMBER, account_numbers)
