"""The wire format of transfers, and the quick reading of sound bodies for the hot routes.

A quick reading calls the rules of the models' fields itself. What it does not take in goes to the
model, which takes it in or names all that is broken; so nothing is refused but by the models.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import date
from itertools import chain
from typing import Annotated, Any, Final, Literal, Self, TypeAliasType, get_args
from uuid import UUID

import msgspec
from pydantic import ConfigDict, Field, model_validator
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo

from guilder.api.fields import InvalidValue, Rule
from guilder.api.idempotency import MAX_KEY_LENGTH
from guilder.api.openapi import OPEN_ENUM
from guilder.api.problems import MAX_FIELDS
from guilder.api.replies import JsonObject
from guilder.api.schema import (
    Amount,
    Boolean,
    Count,
    Currency,
    Exponent,
    Instant,
    Metadata,
    Money,
    Reference64,
    RequestBody,
    ResponseBody,
    Text255,
    UuidText,
)
from guilder.api.turns import Turn
from guilder.api.validation import read_body
from guilder.core.clock import day_date, iso_instant
from guilder.core.errors import FieldError, IdempotencyConflict, Invalid, Refusal
from guilder.core.ids import NumberCipher
from guilder.core.money import EXPONENTS
from guilder.domains.accounts.rules import ACCOUNT_NUMBER, EXAMPLE_PAYEE, EXAMPLE_PAYER
from guilder.domains.ledger.errors import PLAIN_POSTING, GroupFailed
from guilder.domains.ledger.rules.state import UnitResult
from guilder.domains.transfers.errors import BatchRejected
from guilder.domains.transfers.queries import Transfer
from guilder.domains.transfers.services import PostedTransfer

MAX_TRANSFERS: Final = 2_000
_NONE_GIVEN: Final = msgspec.Raw(b"{}")
_BAD_KEY: Final = (
    "invalid_key", f"The key must have 1 to {MAX_KEY_LENGTH} printable ASCII characters."
)  # fmt: skip


def parse_account_number(value: object) -> str:
    """Twelve digits. A check digit that does not fit is the number of no account."""
    if type(value) is not str or not ACCOUNT_NUMBER.fullmatch(value):
        raise InvalidValue("invalid_account_number", "The account number must have 12 digits.")
    return value


def parse_idempotency_key(value: object) -> str:
    """1 to 255 printable ASCII characters, as in the header."""
    if type(value) is not str or not (1 <= len(value) <= MAX_KEY_LENGTH and value.isascii()):
        raise InvalidValue(*_BAD_KEY)
    if not value.isprintable():
        raise InvalidValue(*_BAD_KEY)
    return value


_NUMBER_SCHEMA: Final = {
    "type": "string",
    "pattern": "^[0-9]{12}$",
    "description": "An account number.",
    "examples": ["886572367243"],
}
_KEY_SCHEMA: Final = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_KEY_LENGTH,
    "pattern": "^[ -~]+$",
    "description": "Makes this transfer safe to repeat, alone or in another batch; a refusal is "
    "not kept. The key of the batch is another key, also when it is the same text.",
}

AccountNumber = Annotated[str, Rule(parse_account_number, _NUMBER_SCHEMA)]
IdempotencyKeyText = Annotated[str, Rule(parse_idempotency_key, _KEY_SCHEMA)]


EXAMPLE_TRANSFER: Final[JsonDict] = {
    "from_account_id": str(EXAMPLE_PAYER),
    "to_account_id": str(EXAMPLE_PAYEE),
    "amount": 2_500,
    "currency": "EUR",
    "description": "Dinner on Friday",
}
"""Works in the demo bank, for who has signed in as the first of its people."""

type TransferStatus = Annotated[
    Literal["pending", "posted", "cancelled"],
    Field(description="`posted` has been booked and never changes; a reversal is another one."),
]
type BatchStatus = Annotated[
    Literal["created", "replayed", "rejected"],
    Field(description="`replayed` was created by an earlier request with the same key."),
]


class TransferCreate(RequestBody):
    """Exactly one of ``to_account_id`` and ``to_account_number``."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_TRANSFER]})

    from_account_id: UuidText = Field(description="The payer's account: one of your own.")
    to_account_id: UuidText | None = Field(None, description="The payee's account by its id.")
    to_account_number: AccountNumber | None = Field(
        None, description="The payee's account by its number."
    )
    amount: Amount
    currency: Currency | None = Field(
        None, description="Refused when it is not that of the accounts; theirs when left out."
    )
    description: Text255 | None = Field(None, description="What it is for, for both sides.")
    reference: Reference64 | None = Field(None, description="A reference, for both sides.")
    metadata: Metadata | None = None

    @model_validator(mode="after")
    def _one_payee(self) -> Self:
        if (self.to_account_id is None) == (self.to_account_number is None):
            message = "Give either to_account_id or to_account_number."
            raise InvalidValue("required", message, ("to_account_id",)).as_pydantic()
        return self


class BatchItem(TransferCreate):
    """A transfer of a batch."""

    idempotency_key: IdempotencyKeyText | None = None


class BatchShell(RequestBody):
    """A batch around its transfers, which are looked at one by one."""

    atomic: Boolean = Field(False, description="Whether all are posted or none.")
    transfers: Annotated[list[Any], Field(min_length=1, max_length=MAX_TRANSFERS)]


class BatchCreate(BatchShell):
    """With ``atomic`` all transfers are posted or none."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"atomic": False, "transfers": [EXAMPLE_TRANSFER]}]}
    )

    transfers: Annotated[list[BatchItem], Field(min_length=1, max_length=MAX_TRANSFERS)] = Field(
        description="The transfers, posted in this order."
    )


class DepositCreate(RequestBody):
    """Money from outside."""

    account_id: UuidText = Field(
        description="The account that gets it.", examples=[str(EXAMPLE_PAYER)]
    )
    amount: Amount
    currency: Currency = Field(description="The currency of the account.")
    description: Text255 | None = Field(None, description="What it is.", examples=["Pocket money"])


class TransferOut(ResponseBody):
    """``balance_after`` is of the caller's own side and absent for the other's. ``metadata`` is its
    maker's alone: empty for everybody else.

    A dry run answers with ``dry_run``, and with what the transfer would be: nothing is booked. If
    its key was used before, it is the transfer of that time, which was.
    """

    id: UUID | None = Field(
        description="The transfer's id; null in a dry run, unless its key was used before."
    )
    status: TransferStatus = Field(
        description="How far it has come; in a dry run, how far it would.", examples=["posted"]
    )
    from_account_id: UUID = Field(description="The payer's account.", examples=[str(EXAMPLE_PAYER)])
    to_account_id: UUID = Field(description="The payee's account.", examples=[str(EXAMPLE_PAYEE)])
    amount: Amount
    currency: Currency = Field(description="The currency of the amount.")
    exponent: Exponent
    description: str | None = Field(description="What it is for.", examples=["Dinner on Friday"])
    reference: str | None = Field(description="A reference.", examples=[None])
    metadata: dict[str, str] = Field(
        description="The texts of the client that made it.", examples=[{"order": "A-1027"}]
    )
    created_at: Instant = Field(
        description="When it was made; in a dry run, when it would have been."
    )
    booked_at: Instant = Field(
        description="When it was booked; in a dry run, when it would have been."
    )
    value_on: date = Field(description="The day by which it counts for interest.")
    balance_after: Money | None = Field(
        None, description="The balance of the caller's own side after it.", examples=[122_500]
    )
    dry_run: bool | None = Field(None, description="True in a dry run: it has written nothing.")


_REJECTED: Final[tuple[type[Refusal], ...]] = (*PLAIN_POSTING, GroupFailed, IdempotencyConflict)
"""What one transfer of a batch can be rejected with."""


class BatchResultOut(ResponseBody):
    """What became of one transfer."""

    index: Count = Field(description="Its place in the request, from 0.", examples=[0])
    status: BatchStatus = Field(description="What became of it.")
    transfer_id: UUID | None = Field(
        None,
        description="The transfer's id.",
        examples=["0198c6ba-7c1a-7000-8000-000000000003"],
    )
    balance_after: Money | None = Field(
        None, description="The balance of the payer's account after it.", examples=[122_500]
    )
    code: str | None = Field(
        None,
        description="Why it was rejected: a code, as of a problem.",
        json_schema_extra={OPEN_ENUM: [*sorted(kind.code for kind in _REJECTED)]},
    )


class BatchOut(ResponseBody):
    """What became of a batch, transfer by transfer."""

    id: UUID | None = Field(
        description="The batch's id; null in a dry run, unless its key was used before. If "
        "anything was posted it is in the bank's log; no operation reads a batch by it."
    )
    accepted: Count = Field(description="How many were created or replayed.", examples=[1])
    rejected: Count = Field(description="How many were rejected.", examples=[0])
    results: list[BatchResultOut] = Field(description="One for each transfer, in order.")
    dry_run: bool | None = Field(None, description="True in a dry run: it has written nothing.")


type CleanFields = dict[str, Any]
type Checks = Mapping[str, Callable[[Any], Any]]


def _checks(model: type[RequestBody]) -> Checks:
    """The rule of each field; every one has a rule, alone or beside null."""
    return {name: next(_rules(info)).check for name, info in model.model_fields.items()}


def _rules(info: FieldInfo) -> Iterator[Rule]:
    kinds = (info.annotation, *get_args(info.annotation))
    named = (kind.__value__ if isinstance(kind, TypeAliasType) else kind for kind in kinds)
    marks = (getattr(kind, "__metadata__", ()) for kind in named)
    return (mark for mark in chain(info.metadata, *marks) if isinstance(mark, Rule))


_TRANSFER: Final = _checks(TransferCreate)
_ITEM: Final = _checks(BatchItem)
_ABSENT: Final[CleanFields] = dict.fromkeys(BatchItem.model_fields)


def read_transfer(document: object) -> CleanFields:
    """The clean fields of a ``TransferCreate``. Raises ``Invalid`` as the model does."""
    try:
        return _sound(document, _TRANSFER)
    except InvalidValue:
        return read_body(TransferCreate, document).model_dump()


async def read_batch(document: object, turn: Turn) -> CleanFields:
    """The clean fields of a ``BatchCreate``. Raises ``Invalid`` as the model does.

    The document's transfers are taken out of it one by one, so that a large one is not there twice;
    after as many problems as an answer names nothing more is looked at.
    """
    shell = read_body(BatchShell, document)
    del document
    items, clean, problems = shell.transfers, list[CleanFields](), list[FieldError]()
    for index, item in enumerate(items):
        items[index] = None
        try:
            clean.append(_sound(item, _ITEM))
        except InvalidValue:
            try:
                clean.append(read_body(BatchItem, item).model_dump())
            except Invalid as broken:
                problems += _below(index, broken)
                if len(problems) >= MAX_FIELDS:
                    break
        if turn.over:
            await turn.pause()
    if problems:
        raise Invalid(fields=tuple(problems[:MAX_FIELDS]))
    return {"atomic": shell.atomic, "transfers": clean}


def _below(index: int, broken: Invalid) -> Iterator[FieldError]:
    for one in broken.fields:
        yield FieldError(f"/transfers/{index}{one.where}", one.code, one.message)


def _sound(item: Any, checks: Checks) -> CleanFields:
    """The clean fields of one transfer; raises ``InvalidValue`` where a closer look is needed."""
    if type(item) is not dict:
        raise _unsound()
    values = _ABSENT.copy()
    for name, value in item.items():
        check = checks.get(name)
        if check is None:
            raise _unsound()
        if value is not None:
            values[name] = check(value)
    if values["from_account_id"] is None or values["amount"] is None:
        raise _unsound()
    if (values["to_account_id"] is None) == (values["to_account_number"] is None):
        raise _unsound()
    return values


def _unsound() -> InvalidValue:
    """Never shown: the model says what is wrong."""
    return InvalidValue("invalid", "The value is not valid.")


def posted_body(posted: PostedTransfer, cipher: NumberCipher) -> JsonObject:
    """A transfer that was posted, in its wire form: made of what never changes."""
    posting, result = posted.posting, posted.result
    number, booked_at = result.number, result.booked_at
    body = _body(
        cipher.uuid_text(number, booked_at) if number else None,
        (posted.payer, posted.payee),
        (posting.amount, posting.asset),
        (posting.description, posting.reference, posting.metadata),
        booked_at,
        posting.value_on,
    )
    if posted.balance_after is not None:
        body["balance_after"] = posted.balance_after
    return body


def dry_run_body(body: JsonObject) -> JsonObject:
    """What a dry run found, in its wire form."""
    return body | {"dry_run": True}


def transfer_body(transfer: Transfer, cipher: NumberCipher) -> JsonObject:
    """A transfer that is read, in the same wire form."""
    row = transfer.row
    body = _body(
        cipher.uuid_text(row.id, row.booked_at),
        (transfer.payer, transfer.payee),
        (row.amount, row.asset),
        (row.description, row.reference, transfer.metadata),
        row.booked_at,
        row.value_on,
    )
    if transfer.balance_after is not None:
        body["balance_after"] = transfer.balance_after
    return body


def batch_body(outcome: UnitResult, cipher: NumberCipher, *, dry_run: bool) -> JsonObject:
    """What became of a batch, transfer by transfer."""
    results: list[JsonObject] = []
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
        "id": None if dry_run and not outcome.replayed else outcome.label,
        "accepted": len(results) - rejected,
        "rejected": rejected,
        "results": results,
    }


def rejected(body: JsonObject) -> BatchRejected:
    """The refusal of an atomic batch, with what ``batch_body`` tells of each of its transfers."""
    return BatchRejected(extra={name: body[name] for name in ("accepted", "rejected", "results")})


def _body(
    public_id: str | None,
    sides: tuple[str, str],
    money: tuple[int, str],
    words: tuple[str | None, str | None, str | None],
    booked_at: int,
    value_on: int | None,
) -> JsonObject:
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
