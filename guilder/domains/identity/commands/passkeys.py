"""Passkeys: made, removed, and what they sign checked."""

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from guilder.core.errors import Unauthenticated
from guilder.core.ids import uuid7
from guilder.core.passkeys import NewPasskey
from guilder.db.unit_of_work import UnitOfWork
from guilder.domains.identity.commands.factors import end_others, tell
from guilder.domains.identity.errors import (
    PasskeyNotFound,
    PasskeyTaken,
    TooManyPasskeys,
    WrongFactor,
)
from guilder.domains.identity.repository import factors, users
from guilder.domains.identity.rules.changes import SecurityChange
from guilder.domains.identity.rules.factors import MAX_PASSKEYS, Passkey


@dataclass(frozen=True, slots=True)
class AddPasskey:
    """Give the acting user a passkey that has answered its challenge; None has not."""

    action: ClassVar[str] = "passkey.add"
    name: str
    new: NewPasskey | None


async def add_passkey(uow: UnitOfWork, cmd: AddPasskey) -> Passkey:
    """Store it.

    Raises ``TooManyPasskeys``, ``PasskeyTaken``, ``WrongFactor`` for a challenge that was used, has
    ended or was not answered, and ``Unauthenticated`` for an inactive user.
    """
    if cmd.new is None:
        raise WrongFactor("The passkey was not accepted. Ask for new options.")
    found = None
    if uow.actor.user_id is not None:
        found = await users.lock_active_user(uow, uow.actor.user_id)
    if found is None:
        raise Unauthenticated()
    user, new = found[0], cmd.new
    if len(await factors.passkeys_of(uow, user.id)) >= MAX_PASSKEYS:
        raise TooManyPasskeys()
    if not await factors.use_challenge(uow, new.challenge.hash, new.challenge.ends_at):
        raise WrongFactor("The options were used or have ended. Ask for new ones.")
    passkey = Passkey(
        uuid7(uow.now_us),
        user.id,
        cmd.name,
        new.credential_id,
        new.public_key,
        new.sign_count,
        created_at=uow.now_us,
    )
    if not await factors.insert_passkey(uow, passkey):
        raise PasskeyTaken()
    await users.note_factors_given_up(uow, user.id, given_up=False)
    await tell(uow, user.id, SecurityChange.PASSKEY_ADDED)
    return passkey


@dataclass(frozen=True, slots=True)
class RemovePasskey:
    """Take one of the acting user's passkeys away."""

    action: ClassVar[str] = "passkey.remove"
    passkey_id: UUID


async def remove_passkey(uow: UnitOfWork, cmd: RemovePasskey) -> None:
    """Remove it and end the other sessions.

    Raises ``PasskeyNotFound`` unless it is the actor's, and ``Unauthenticated`` without a user.
    """
    if uow.actor.user_id is None:
        raise Unauthenticated()
    if not await factors.remove_passkey(uow, uow.actor, cmd.passkey_id):
        raise PasskeyNotFound()
    await end_others(uow, uow.actor.user_id)
    await tell(uow, uow.actor.user_id, SecurityChange.PASSKEY_REMOVED)
