"""From what a client asks for to postings, and through the poster.

One posting is made for every transfer asked for, also for one that names an unknown account: the
ledger refuses it in its place, so that all refusals keep one order. This is the product's hottest
code; a batch runs ``posting_of`` thousands of times a request.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import msgspec

from guilder.core.actor import Actor
from guilder.core.errors import IdempotencyConflict
from guilder.core.ownership import may_read, owns
from guilder.db.idempotency import digest
from guilder.domains.accounts.queries import AccountDirectory, Fact
from guilder.domains.ledger.errors import AccountNotFound, CurrencyMismatch
from guilder.domains.ledger.poster import Poster
from guilder.domains.ledger.rules.state import Posting, Result, Unit, UnitResult

type Values = Mapping[str, Any]
"""The fields of a transfer asked for, checked and clean (``schemas.TransferCreate``)."""

UNKNOWN: Final = -1
"""A ledger number that no account has, for a payer that does not exist or is another's."""
UNKNOWN_PAYEE: Final = -2
SETTLEMENT: Final = "settlement"

_canonical: Final = msgspec.json.Encoder(order="deterministic").encode


def payee_of(values: Values) -> str:
    """The name of the payee's account: its id or its account number."""
    name: str = values["to_account_id"] or values["to_account_number"]
    return name


def metadata_text(metadata: Mapping[str, str] | None) -> str | None:
    """Metadata as it is stored: compact JSON with sorted keys, None when there is none."""
    return _canonical(metadata).decode() if metadata else None


@dataclass(frozen=True, slots=True)
class Payer:
    """Who asks, and their id as text: keys are theirs, and only their accounts may pay."""

    actor: Actor
    text: str


def names_in(transfers: Sequence[Values]) -> set[str]:
    """The names of all accounts in a batch."""
    names = {values["from_account_id"] for values in transfers}
    names.update(map(payee_of, transfers))
    return names


def posting_of(
    values: Values, known: Mapping[str, Fact], payer: Payer, key_text: str | None
) -> Posting:
    """The posting for one transfer that is asked for."""
    payer_name, payee_name = values["from_account_id"], payee_of(values)
    source, target = known.get(payer_name), known.get(payee_name)
    if source is not None and owns(payer.actor, source.owner):
        debit, asset = source.number, values["currency"] or source.currency
        credit = UNKNOWN_PAYEE if target is None else target.number
    else:
        debit, asset = UNKNOWN, ""
        credit = UNKNOWN if payee_name == payer_name else UNKNOWN_PAYEE
    posting = Posting(
        debit,
        credit,
        values["amount"],
        asset,
        created_by=payer.actor.user_id,
        description=values["description"] or None,
        reference=values["reference"] or None,
        metadata=metadata_text(values["metadata"]),
    )
    if key_text is not None:
        seal(posting, payer.text, key_text)
    return posting


def seal(posting: Posting, owner: str, key_text: str) -> None:
    """Give a posting its key in its owner's scope and the fingerprint of what it would do."""
    p = posting
    facts = (p.debit, p.credit, p.amount, p.asset, p.description, p.reference, p.metadata)
    p.key = digest(owner, key_text)
    p.fingerprint = _fingerprint(facts)


async def post_one(poster: Poster, posting: Posting, *, dry_run: bool) -> Result:
    """Post one transfer; raises what it is refused with. A dry run spends no key."""
    if dry_run:
        posting.key = None
    result = (await poster.submit(Unit([posting], dry_run=dry_run))).results[0]
    result.raise_refused()
    return result


def batch_of(
    values: Values,
    known: Mapping[str, Fact],
    payer: Payer,
    key_text: str | None,
    label: str,
    *,
    dry_run: bool,
) -> Unit:
    """The unit for a batch (``schemas.BatchCreate``): a posting for each transfer, in order."""
    transfers, atomic = values["transfers"], values["atomic"]
    postings = [posting_of(item, known, payer, item["idempotency_key"]) for item in transfers]
    unit = Unit(postings, atomic, dry_run, label=label)
    if key_text is not None and not dry_run:
        unit.key = digest(payer.text, key_text)
        unit.fingerprint = _fingerprint((atomic, transfers))
    return unit


async def post_batch(poster: Poster, unit: Unit) -> UnitResult:
    """Post a batch. Its results are kept under its key when anything was accepted.

    Refuses only a key that was used for another request; what a transfer is refused with stands
    in its result.
    """
    outcome = await poster.submit(unit)
    if outcome.conflict:
        raise IdempotencyConflict()
    return outcome


async def deposit_sides(
    directory: AccountDirectory, actor: Actor, account_id: str, currency: str
) -> tuple[Fact, Fact]:
    """The bank's settlement account and the customer's, for the owner or an administrator."""
    account = (await directory.resolve((account_id,))).get(account_id)
    if account is None or not may_read(actor, account.owner):
        raise AccountNotFound()
    if account.currency != currency:
        raise CurrencyMismatch()
    return await directory.bank(currency, SETTLEMENT), account


def deposit_of(
    bank: Fact, account: Fact, actor: Actor, amount: int, description: str | None,
    key_text: str | None,
) -> Posting:  # fmt: skip
    """The posting of a deposit."""
    posting = Posting(
        bank.number,
        account.number,
        amount,
        account.currency,
        created_by=actor.user_id,
        description=description or None,
    )
    if key_text is not None:
        seal(posting, str(actor.user_id), key_text)
    return posting


def _fingerprint(facts: object) -> bytes:
    """16 bytes that are the same for the same facts."""
    return blake2b(_canonical(facts), digest_size=16).digest()
