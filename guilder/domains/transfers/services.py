"""From what a client asks for to postings, and through the poster.

One posting is made for every transfer asked for, also for one that names an unknown account: the
ledger refuses it in its place, so that all refusals keep one order. This is the product's hottest
code; a batch runs ``posting_of`` thousands of times a request.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec

from guilder.core.actor import Actor
from guilder.core.clock import Clock
from guilder.core.errors import IdempotencyConflict
from guilder.core.ids import uuid7
from guilder.core.ownership import may_read, owns
from guilder.db.idempotency import digest, fingerprint
from guilder.domains.accounts.queries import AccountRef
from guilder.domains.accounts.services import AccountDirectory
from guilder.domains.ledger.errors import AccountNotFound, AmountOverflow, CurrencyMismatch
from guilder.domains.ledger.poster import Poster
from guilder.domains.ledger.rules.state import Posting, PostingResult, Unit, UnitResult

type TransferFields = Mapping[str, Any]
"""The fields of a transfer asked for, checked and clean (``schemas.TransferCreate``)."""

BATCH: Final = "batch"
"""Sets the keys of batches apart: the same text may be the key of a transfer within."""

UNKNOWN: Final = -1
"""A ledger number that no account has, for a payer that does not exist or is another's."""
UNKNOWN_PAYEE: Final = -2
SETTLEMENT: Final = "settlement"

_canonical: Final = msgspec.json.Encoder(order="deterministic").encode


@dataclass(frozen=True, slots=True)
class Deposit:
    """Money from outside that is to be booked on an account; ``amount`` in minor units."""

    account_id: str
    amount: int
    currency: str
    description: str | None


class PostedTransfer(NamedTuple):
    """A transfer that was posted now, or before under the same key; or would be, on a dry run.

    ``payer`` and ``payee`` are the accounts' ids; ``balance_after`` is that of the actor's own
    side, None when neither is.
    """

    posting: Posting
    result: PostingResult
    payer: str
    payee: str
    balance_after: int | None


class TransferService:
    """Takes what clients ask for through the poster."""

    def __init__(self, directory: AccountDirectory, poster: Poster, clock: Clock) -> None:
        self._directory = directory
        self._poster = poster
        self._clock = clock

    async def transfer(
        self, values: TransferFields, actor: Actor, key_text: str | None, *, dry_run: bool
    ) -> PostedTransfer:
        """Post one transfer and raise its refusal, if there is one. A dry run keeps no key."""
        payer_name, payee_name = values["from_account_id"], payee_of(values)
        known = await self._directory.resolve((payer_name, payee_name))
        posting = posting_of(values, known, Payer.of(actor), key_text)
        result = await self._post(posting, dry_run=dry_run)
        return PostedTransfer(
            posting, result, known[payer_name].id, known[payee_name].id, result.debit_after
        )

    async def batch(
        self, values: TransferFields, actor: Actor, key_text: str | None, *, dry_run: bool
    ) -> UnitResult:
        """Post a batch. Its results are kept under its key when anything was accepted.

        Raises ``IdempotencyConflict`` for a key of another request; the refusal of a transfer
        stands in its result.
        """
        known = await self._directory.resolve(names_in(values["transfers"]))
        label = str(uuid7(self._clock.now_us()))
        unit = batch_of(values, known, Payer.of(actor), key_text, label, dry_run=dry_run)
        del values  # they may be large, and the unit says it all
        outcome = await self._poster.submit(unit)
        if outcome.conflict:
            raise IdempotencyConflict()
        return outcome

    async def deposit(
        self, wanted: Deposit, actor: Actor, key_text: str | None, *, dry_run: bool
    ) -> PostedTransfer:
        """Post money from outside, for the account's owner or an administrator.

        Raises ``AccountNotFound`` for anybody else, and ``CurrencyMismatch``. When the bank's own
        account is full, the deposit comes from the one in which it goes on; only a dry run opens
        none.
        """
        account = (await self._directory.resolve((wanted.account_id,))).get(wanted.account_id)
        if account is None or not may_read(actor, account.owner):
            raise AccountNotFound()
        if account.currency != wanted.currency:
            raise CurrencyMismatch()
        bank = await self._directory.bank(wanted.currency, SETTLEMENT)
        try:
            posting = deposit_of(bank, account, actor, wanted, key_text)
            result = await self._post(posting, dry_run=dry_run)
        except AmountOverflow:
            following = bank if dry_run else await self._next(bank)
            if following == bank:
                raise
            posting = deposit_of(following, account, actor, wanted, key_text)
            result, bank = await self._post(posting, dry_run=dry_run), following
        payer = bank.id
        if result.status == "replayed":  # it may have come from an account that is full by now
            payer = await self._directory.payer(result.number)
        after = result.credit_after if owns(actor, account.owner) else None
        return PostedTransfer(posting, result, payer, account.id, after)

    async def _next(self, bank: AccountRef) -> AccountRef:
        return await self._directory.next_bank(bank.currency, SETTLEMENT)

    async def _post(self, posting: Posting, *, dry_run: bool) -> PostingResult:
        result = (await self._poster.submit(Unit([posting], dry_run=dry_run))).results[0]
        result.raise_refused()
        return result


def payee_of(values: TransferFields) -> str:
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

    @classmethod
    def of(cls, actor: Actor) -> "Payer":
        """The caller, who has signed in."""
        assert actor.user_id is not None
        return cls(actor, str(actor.user_id))


def names_in(transfers: Sequence[TransferFields]) -> set[str]:
    """The names of all accounts in a batch."""
    names = {values["from_account_id"] for values in transfers}
    names.update(map(payee_of, transfers))
    return names


def posting_of(
    values: TransferFields, known: Mapping[str, AccountRef], payer: Payer, key_text: str | None
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
        key_posting(posting, payer.text, key_text)
    return posting


def key_posting(
    posting: Posting, owner: str, key_text: str, source: int | str | None = None
) -> None:
    """Give a posting its key in its owner's scope and the fingerprint of what it would do.

    ``source`` stands for the account that it is debited to, where that may be another next time.
    """
    p = posting
    facts = (source or p.debit, p.credit, p.amount, p.asset, p.description, p.reference, p.metadata)
    p.key = digest(owner, key_text)
    p.fingerprint = fingerprint(facts)


def batch_of(
    values: TransferFields,
    known: Mapping[str, AccountRef],
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
    if key_text is not None:
        unit.key = digest(payer.text, BATCH, key_text)
        unit.fingerprint = fingerprint((atomic, [_facts(item, known) for item in transfers]))
    return unit


def _facts(values: TransferFields, known: Mapping[str, AccountRef]) -> tuple[object, ...]:
    """What one transfer of a batch asks for, the same whichever way its accounts are named.

    An account that is not known yet stands as it is named: by its number it is the same later.
    """
    payer, payee = (
        ref.account_number if (ref := known.get(name)) is not None else name
        for name in (values["from_account_id"], payee_of(values))
    )
    currency = values["currency"]
    if currency is None and (source := known.get(values["from_account_id"])) is not None:
        currency = source.currency
    return (
        payer, payee, values["amount"], currency, values["description"] or None,
        values["reference"] or None, values["metadata"] or None, values["idempotency_key"],
    )  # fmt: skip


def deposit_of(
    bank: AccountRef, account: AccountRef, actor: Actor, wanted: Deposit, key_text: str | None
) -> Posting:
    """The posting of a deposit."""
    posting = Posting(
        bank.number,
        account.number,
        wanted.amount,
        account.currency,
        created_by=actor.user_id,
        description=wanted.description or None,
    )
    if key_text is not None:
        key_posting(posting, str(actor.user_id), key_text, SETTLEMENT)
    return posting
