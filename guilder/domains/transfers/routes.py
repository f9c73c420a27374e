"""Transfers over HTTP. The two POSTs that move money are lean: see ``guilder.api.routing``."""

from collections.abc import Iterable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query

from guilder.api.auth import requires
from guilder.api.compression import compressed
from guilder.api.deps import Part, TheCipher, TheExchange, TheRunner, require_sandbox
from guilder.api.exchange import Exchange
from guilder.api.fields import InvalidValue, parse_query_boolean
from guilder.api.idempotency import REPLAYED, IdempotencyKey, key_text
from guilder.api.openapi import refusals
from guilder.api.pagination import PageOut, PageQuery, page_body
from guilder.api.policies import BULK, rate_limited
from guilder.api.replies import JsonObject, Reply, created, json_response
from guilder.api.routing import lean
from guilder.api.schema import QueryBoolean, ResponseBody, Uuid
from guilder.core.actor import Actor
from guilder.core.errors import FieldError, Invalid, OutcomeUnknown, Overloaded, Place
from guilder.core.ids import NumberCipher
from guilder.core.permissions import Permission
from guilder.domains.ledger import errors as refused
from guilder.domains.transfers import queries
from guilder.domains.transfers.errors import BatchRejected
from guilder.domains.transfers.schemas import (
    BatchCreate,
    BatchOut,
    DepositCreate,
    TransferCreate,
    TransferOut,
    batch_body,
    dry_run_body,
    posted_body,
    read_batch,
    read_transfer,
    rejected,
    transfer_body,
)
from guilder.domains.transfers.services import Deposit, TransferService

TransfersReader = Annotated[Actor, requires(Permission.TRANSFERS_READ)]
Mover = Annotated[Actor, requires(Permission.TRANSFERS_WRITE)]
Depositor = Annotated[Actor, requires(Permission.SIMULATIONS_WRITE)]
TheTransfers = Annotated[TransferService, Depends(Part(TransferService))]

TRANSFER_BYTES: Final = 160_000
"""All fields at their longest, each character written as two escapes: 148 kB."""
BATCH_BYTES: Final = 8_000_000
"""2,000 transfers of 4 kB."""
_TRANSFER: Final = "/transfers/{id}"
_REFUSED: Final = refusals(*refused.PLAIN_POSTING, Invalid, Overloaded, OutcomeUnknown)


def _dry(model: type[ResponseBody]) -> dict[int | str, dict[str, Any]]:
    return {200: {"model": model, "description": "What a dry run found."}}


router = APIRouter(tags=["transfers"])
simulations_router = APIRouter(
    prefix="/simulations", tags=["simulations"], dependencies=[Depends(require_sandbox)]
)

DryRun = Annotated[
    QueryBoolean,
    Query(
        description="Check and answer all the same, with 200, and write nothing. A key that was "
        "used before gives its first answer, or `idempotency_conflict`; any other stays free."
    ),
]


async def post_transfer(exchange: Exchange) -> Reply:
    """Answers ``POST /transfers``."""
    parts, dry_run, key = exchange.parts, _dry_run(exchange), key_text(exchange)
    values = read_transfer(exchange.document)
    posted = await parts[TransferService].transfer(values, exchange.actor, key, dry_run=dry_run)
    body = posted_body(posted, parts[NumberCipher])
    _note_transfer(exchange, body)
    replayed = posted.result.status == "replayed"
    return _answer(body, _TRANSFER, dry_run=dry_run, replayed=replayed)


async def post_transfers(exchange: Exchange) -> Reply:
    """Answers ``POST /transfers/batches``."""
    parts, dry_run, key = exchange.parts, _dry_run(exchange), key_text(exchange)
    async with exchange.turns.turn() as turn:
        values = await read_batch(exchange.take_document(), turn)
    atomic, service = values["atomic"], parts[TransferService]
    posting = service.batch(values, exchange.actor, key, dry_run=dry_run)
    del values  # they may be large, and the service lets go of them, too
    outcome = await posting
    body = batch_body(outcome, parts[NumberCipher], dry_run=dry_run)
    if atomic and body["rejected"]:
        raise rejected(body)
    _note_batch(exchange, body)
    return _answer(body, "/transfers", dry_run=dry_run, replayed=outcome.replayed)


@router.post(
    "/transfers",
    status_code=201,
    response_model=TransferOut,
    responses=_dry(TransferOut) | _REFUSED,
    max_body_size=TRANSFER_BYTES,
)
@lean(post_transfer)
async def create_transfer(
    body: TransferCreate, actor: Mover, _key: IdempotencyKey, dry_run: DryRun = False
) -> None:
    """Move money from one's own account to any account of the same currency."""


@router.post(
    "/transfers/batches",
    status_code=201,
    response_model=BatchOut,
    response_description="The transfers were gone through. `accepted` and `rejected` tell what "
    "came of it: where all were rejected, nothing was posted.",
    responses=_dry(BatchOut) | refusals(Invalid, BatchRejected, Overloaded, OutcomeUnknown),
    max_body_size=BATCH_BYTES,
)
@rate_limited(BULK)
@lean(post_transfers)
async def create_batch(
    body: BatchCreate, actor: Mover, _key: IdempotencyKey, dry_run: DryRun = False
) -> None:
    """Post up to 2,000 transfers at once, in order; `atomic` posts all or none.

    A transfer that is refused is a result with a `code`. Refused as a whole are a body that breaks
    the rules of its fields, and an atomic batch of which one transfer is refused: that problem has
    the same `results`. The answer is kept under the `Idempotency-Key` if any transfer was accepted,
    and given again as it was, refused transfers included.
    """


@router.get("/transfers", response_model=PageOut[TransferOut])
@compressed
async def list_transfers(
    actor: TransfersReader, runner: TheRunner, cipher: TheCipher, page: PageQuery
) -> Reply:
    """Transfers from or to any of one's own accounts, newest first."""
    found = await runner.read(queries.list_transfers, actor, page)
    return json_response(200, page_body(found, lambda transfer: transfer_body(transfer, cipher)))


@router.get(
    "/transfers/{transfer_id}",
    response_model=TransferOut,
    responses=refusals(refused.TransferNotFound),
)
async def get_transfer(
    transfer_id: Uuid, actor: TransfersReader, runner: TheRunner, cipher: TheCipher
) -> Reply:
    """A transfer from or to one of one's own accounts."""
    found = await runner.read(queries.get_transfer, actor, transfer_id, cipher)
    return json_response(200, transfer_body(found, cipher))


@simulations_router.post(
    "/deposits",
    status_code=201,
    response_model=TransferOut,
    responses=_dry(TransferOut) | _REFUSED,
)
async def create_deposit(
    body: DepositCreate,
    actor: Depositor,
    exchange: TheExchange,
    transfers: TheTransfers,
    cipher: TheCipher,
    _key: IdempotencyKey,
    dry_run: DryRun = False,
) -> Reply:
    """Money from outside, out of nowhere: how a new account of the sandbox gets some."""
    wanted = Deposit(body.account_id, body.amount, body.currency, body.description)
    posted = await transfers.deposit(wanted, actor, key_text(exchange), dry_run=dry_run)
    replayed, answer = posted.result.status == "replayed", posted_body(posted, cipher)
    _note_transfer(exchange, answer)
    return _answer(answer, _TRANSFER, dry_run=dry_run, replayed=replayed)


def _dry_run(exchange: Exchange) -> bool:
    given = exchange.query.get("dry_run")
    if given is None:
        return False
    try:
        return parse_query_boolean(given)
    except InvalidValue as broken:
        found = FieldError("dry_run", broken.code, broken.message, Place.QUERY)
        raise Invalid(fields=(found,)) from None


def _note_transfer(exchange: Exchange, body: JsonObject) -> None:
    """Let the access log tell by which request, session and address a transfer was made."""
    if body["id"] is not None:
        exchange.facts["transfer_id"] = str(body["id"])


def _note_batch(exchange: Exchange, body: JsonObject) -> None:
    """The same of a batch: its id, and its first and last transfer: all others are between."""
    first, last = _first_made(body["results"]), _first_made(reversed(body["results"]))
    if first is not None and last is not None:
        exchange.facts |= {
            "batch_id": body["id"], "first_transfer_id": first, "last_transfer_id": last
        }  # fmt: skip


def _first_made(results: Iterable[JsonObject]) -> str | None:
    return next((one["transfer_id"] for one in results if one["status"] == "created"), None)


def _answer(body: dict[str, Any], place: str, *, dry_run: bool, replayed: bool) -> Reply:
    """201, or 200 for a dry run; a body that was given before says so in a header."""
    headers = REPLAYED if replayed else None
    if dry_run:
        return json_response(200, dry_run_body(body), headers)
    return created(place, body, headers)
