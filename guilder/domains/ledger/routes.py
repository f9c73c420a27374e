"""The bank-wide test clock over HTTP, in the sandbox only."""

from typing import Annotated

from fastapi import APIRouter, Depends

from guilder.api.auth import requires
from guilder.api.deps import TheRunner, require_sandbox
from guilder.api.idempotency import TheOnce
from guilder.api.openapi import refusals
from guilder.api.replies import Reply, json_response
from guilder.core.actor import Actor
from guilder.core.clock import SECOND_US
from guilder.core.errors import Invalid
from guilder.core.permissions import Permission
from guilder.domains.ledger.commands import SetBankClock, set_bank_clock
from guilder.domains.ledger.errors import ClockBackwards
from guilder.domains.ledger.queries import bank_now
from guilder.domains.ledger.schemas import ClockOut, ClockSet, clock_body

ClockReader = Annotated[Actor, requires(Permission.SIMULATIONS_READ)]
ClockWriter = Annotated[Actor, requires(Permission.SIMULATIONS_WRITE)]

router = APIRouter(
    prefix="/simulations", tags=["simulations"], dependencies=[Depends(require_sandbox)]
)


@router.get("/clock", response_model=ClockOut)
async def get_clock(actor: ClockReader, runner: TheRunner) -> Reply:
    """The bank's time: bookings, value dates, expiries and statements follow it."""
    now_us = await runner.view(bank_now)
    return json_response(200, clock_body(now_us, runner.clock.now_us()))


@router.put("/clock", response_model=ClockOut, responses=refusals(ClockBackwards, Invalid))
async def set_clock(body: ClockSet, actor: ClockWriter, runner: TheRunner, once: TheOnce) -> Reply:
    """Set the bank's time, or move it on, in every process.

    Anywhere before the first account is opened, only forward after it. Sessions and
    tokens stay on real time. To move it on is safe to repeat with an `Idempotency-Key` alone.
    """
    command = SetBankClock(body.now, (body.advance_seconds or 0) * SECOND_US)
    clock = runner.clock
    return await once.run(
        set_bank_clock, command, actor, lambda now: clock_body(now, clock.now_us())
    )
