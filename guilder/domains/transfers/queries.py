"""Reads of transfers, and the one wire form that they have when made and when read."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

import msgspec

from guilder.core.actor import Actor
from guilder.core.clock import day_date, iso_instant
from guilder.core.ids import NumberCipher
from guilder.core.money import EXPONENTS
from guilder.core.ownership import sees_everything
from guilder.core.page import Page, PageRequest
from guilder.db.unit_of_work import View
from guilder.domains.accounts import queries as accounts
from guilder.domains.ledger import queries as ledger
from guilder.domains.ledger.errors import TransferNotFound
from guilder.domains.ledger.queries import TransferRow
from guilder.domains.ledger.rules.state import Posting, Result, UnitResult

type Body = dict[str, Any]

_NONE_GIVEN = msgspec.Raw(b"{}")


def made_body(
    posting: Posting, result: Result, sides: tuple[str, str], cipher: NumberCipher
) -> Body:
    """A transfer that was posted, now or before under the same key: made of what never changes.

    ``sides`` are the ids of payer and payee. A dry run has no number and so no id.
    """
    number, booked_at = result.number, result.booked_at
    return _body(
        cipher.uuid_text(number, booked_at) if number else None,
        sides,
        (posting.amount, posting.asset),
        (posting.description, posting.reference, posting.metadata),
        booked_at,
        posting.value_on,
    )


def batch_body(outcome: UnitResult, cipher: NumberCipher, *, dry_run: bool) -> Body:
    """What became of a batch, transfer by transfer."""
    results: list[Body] = []
    rejected = 0
    uuid_text = cipher.uuid_text
    for index, result in enumerate(outcome.results):
        refusal = result.refusal
        if refusal is None:
            number = result.number
            transfer_id = uuid_text(number, result.booked_at) if number else None
            results.append(
                {
                    "index": index,
                    "status": result.status,
                    "transfer_id": transfer_id,
                    "balance_after": result.debit_after,
                }
            )
        else:
            rejected += 1
            results.append({"index": index, "status": "rejected", "code": refusal.code})
    return {
        "id": None if dry_run else outcome.label,
        "accepted": len(results) - rejected,
        "rejected": rejected,
        "results": results,
    }


async def get_transfer(view: View, actor: Actor, public_id: UUID, cipher: NumberCipher) -> Body:
    """A transfer of which the actor owns a side; refuses any other as not found."""
    number = cipher.number_of(public_id)
    row = None if number is None else await ledger.transfer(view, number)
    if row is None or cipher.uuid_text(row.id, row.booked_at) != str(public_id):
        raise TransferNotFound()
    own = await accounts.own_numbers(view, actor, (row.debit_account, row.credit_account))
    if not own and not sees_everything(actor):
        raise TransferNotFound()
    return (await _bodies(view, [row], own, cipher))[0]


async def list_transfers(
    view: View, actor: Actor, page: PageRequest, cipher: NumberCipher
) -> Page[Body]:
    """A page of the transfers that touch any of the actor's accounts, newest first."""
    own = set(await accounts.numbers_of(view, actor))
    found = await ledger.transfers_of(view, sorted(own), page)
    return Page(await _bodies(view, found.items, own, cipher), found.next_cursor)


async def _bodies(
    view: View, rows: Sequence[TransferRow], own: Collection[int], cipher: NumberCipher
) -> list[Body]:
    """Wire forms; of a transfer between two accounts of one owner the payer's balance is told."""
    numbers = {n for row in rows for n in (row.debit_account, row.credit_account)}
    facts = await ledger.account_facts(view, sorted(numbers))
    mine = {row.id: _own_side(row, own) for row in rows}
    pairs = [(side, number) for number, side in mine.items() if side is not None]
    after = await ledger.balances_after(view, pairs)
    bodies = []
    for row in rows:
        body = _body(
            cipher.uuid_text(row.id, row.booked_at),
            (str(facts[row.debit_account].public_id), str(facts[row.credit_account].public_id)),
            (row.amount, row.asset),
            (row.description, row.reference, row.metadata),
            row.booked_at,
            row.value_on,
        )
        if (side := mine[row.id]) is not None:
            body["balance_after"] = after[side, row.id]
        bodies.append(body)
    return bodies


def _own_side(row: TransferRow, own: Collection[int]) -> int | None:
    if row.debit_account in own:
        return row.debit_account
    return row.credit_account if row.credit_account in own else None


def _body(
    public_id: str | None,
    sides: tuple[str, str],
    money: tuple[int, str],
    words: tuple[str | None, str | None, str | None],
    booked_at: int,
    value_on: int | None,
) -> Body:
    booked = iso_instant(booked_at)
    return {
        "id": public_id,
        "status": "posted",
        "from_account_id": sides[0],
        "to_account_id": sides[1],
        "amount": money[0],
        "currency": money[1],
        "exponent": EXPONENTS[money[1]],
        "description": words[0],
        "reference": words[1],
        "metadata": _NONE_GIVEN if words[2] is None else msgspec.Raw(words[2].encode()),
        "created_at": booked,
        "booked_at": booked,
        "value_on": booked[:10] if value_on is None else day_date(value_on).isoformat(),
    }
