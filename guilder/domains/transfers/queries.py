"""Reads of transfers."""

from collections.abc import Collection, Sequence
from typing import NamedTuple
from uuid import UUID

from guilder.core.actor import Actor
from guilder.core.ids import NumberCipher
from guilder.core.ownership import owns, sees_everything
from guilder.core.page import Page, PageRequest
from guilder.db.reader import Reader
from guilder.domains.accounts import queries as accounts
from guilder.domains.ledger import queries as ledger
from guilder.domains.ledger.errors import TransferNotFound
from guilder.domains.ledger.queries import TransferRow


class Transfer(NamedTuple):
    """A transfer as one of its sides may see it, with the ids of the accounts of payer and payee.

    ``balance_after`` is that of the actor's own side, the payer's if both are; None for others.
    ``metadata`` is what its maker has noted, None for anybody else.
    """

    row: TransferRow
    payer: str
    payee: str
    balance_after: int | None
    metadata: str | None


async def get_transfer(
    view: Reader, actor: Actor, public_id: UUID, cipher: NumberCipher
) -> Transfer:
    """A transfer from or to an account of the actor. Raises ``TransferNotFound`` for any other."""
    number = cipher.number_of(public_id)
    row = None if number is None else await ledger.transfer(view, number)
    if row is None or cipher.uuid_text(row.id, row.booked_at) != str(public_id):
        raise TransferNotFound()
    own = await accounts.own_numbers(view, actor, (row.debit_account, row.credit_account))
    if not own and not sees_everything(actor):
        raise TransferNotFound()
    if not own:
        view.tell_read(actor, "transfer.read", public_id)
    return (await _seen(view, actor, [row], own))[0]


async def list_transfers(view: Reader, actor: Actor, page: PageRequest) -> Page[Transfer]:
    """A page of the transfers that touch any of the actor's accounts, newest first."""
    until = await ledger.last_number(view)  # first: what comes meanwhile is not in it with gaps
    own = set(await accounts.numbers_of(view, actor))
    found = await ledger.transfers_of(view, sorted(own), page, until)
    return Page(await _seen(view, actor, found.items, own), found.next_cursor)


async def _seen(
    view: Reader, actor: Actor, rows: Sequence[TransferRow], own: Collection[int]
) -> list[Transfer]:
    numbers = {n for row in rows for n in (row.debit_account, row.credit_account)}
    facts = await ledger.account_facts(view, sorted(numbers))
    mine = {row.id: _own_side(row, own) for row in rows}
    pairs = [(side, number) for number, side in mine.items() if side is not None]
    after = await ledger.balances_after(view, pairs)
    return [
        Transfer(
            row,
            str(facts[row.debit_account].public_id),
            str(facts[row.credit_account].public_id),
            None if (side := mine[row.id]) is None else after[side, row.id],
            row.metadata if owns(actor, row.created_by) else None,
        )
        for row in rows
    ]


def _own_side(row: TransferRow, own: Collection[int]) -> int | None:
    if row.debit_account in own:
        return row.debit_account
    return row.credit_account if row.credit_account in own else None
