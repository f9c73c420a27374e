"""Stepping up: the owner of a session proves again that it is still them."""

from dataclasses import dataclass
from typing import ClassVar

from guilder.core.actor import FRESH_US
from guilder.core.errors import Unauthenticated
from guilder.db.unit_of_work import UnitOfWork
from guilder.domains.identity.commands.factors import use_factor
from guilder.domains.identity.errors import FactorRequired, WrongFactor, WrongPassword
from guilder.domains.identity.repository import factors, failures, users
from guilder.domains.identity.rules.factors import Factor


@dataclass(frozen=True, slots=True)
class StepUp:
    """Note that the actor has given a factor, or a password that fits ``password_hash``.

    Wrong ones were counted under the ``failures_key``.
    """

    action: ClassVar[str] = "session.step_up"
    password_hash: str | None = None
    factor: Factor | None = None
    failures_key: bytes | None = None


async def step_up(uow: UnitOfWork, cmd: StepUp) -> int:
    """Note it and return until when it counts, in microseconds since 1970.

    Raises ``WrongFactor`` for a factor that was used before, ``WrongPassword`` when the password
    changed meanwhile, ``FactorRequired`` for the password of a user with an authenticator app, and
    ``Unauthenticated`` without an open session.
    """
    user_id, session_id = uow.actor.user_id, uow.actor.session_id
    if user_id is None or session_id is None:
        raise Unauthenticated()
    found = await users.lock_active_user(uow, user_id)
    if found is None:
        raise Unauthenticated()
    if cmd.factor is not None:
        if not await use_factor(uow, user_id, cmd.factor):
            raise WrongFactor()
    elif await factors.active_totp(uow, user_id) is not None:
        raise FactorRequired()
    elif found[1] != cmd.password_hash:
        raise WrongPassword()
    if cmd.failures_key is not None:
        await failures.forget_failures(uow, cmd.failures_key)
    uow.audit(user_id, factors=["password" if cmd.factor is None else cmd.factor.name])
    with_factor = cmd.factor is not None
    if not await factors.mark_stepped_up(uow, session_id, user_id, with_factor=with_factor):
        raise Unauthenticated()
    return uow.now_us + FRESH_US
