"""Passkeys: made, removed, and what they sign checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Never
from uuid import UUID

from guilder.core.actor import Actor
from guilder.core.errors import Unauthenticated
from guilder.core.ids import uuid7
from guilder.db.run import Runner
from guilder.db.unit_of_work import UnitOfWork
from guilder.domains.identity.commands.factors import end_others
from guilder.domains.identity.errors import (
    InvalidPasskey,
    PasskeyNotFound,
    PasskeyTaken,
    TooManyPasskeys,
    WrongFactor,
)
from guilder.domains.identity.repository import factors, logins
from guilder.domains.identity.rules import MOST_PASSKEYS, Passkey, PasskeyProof
from guilder.infra.passkeys import NewPasskey, PasskeyRefused, Passkeys, credential_id

_ASSERT: Final = "assert"


@dataclass(frozen=True, slots=True)
class AddPasskey:
    """Give the acting user a passkey that has answered its challenge."""

    action: ClassVar[str] = "passkey.add"
    name: str
    new: NewPasskey


async def add_passkey(uow: UnitOfWork, cmd: AddPasskey) -> Passkey:
    """Store it; refuses a challenge that was used, one passkey too many and one that is known."""
    found = None
    if uow.actor.user_id is not None:
        found = await logins.lock_active_user(uow, uow.actor.user_id)
    if found is None:
        raise Unauthenticated()
    user, new = found[0], cmd.new
    if len(await factors.passkeys_of(uow, user.id)) >= MOST_PASSKEYS:
        raise TooManyPasskeys()
    if not await factors.use_challenge(uow, new.challenge.hash, new.challenge.ends_at):
        raise WrongFactor()
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
    return passkey


@dataclass(frozen=True, slots=True)
class RemovePasskey:
    """Take one of the acting user's passkeys away."""

    action: ClassVar[str] = "passkey.remove"
    passkey_id: UUID


async def remove_passkey(uow: UnitOfWork, cmd: RemovePasskey) -> None:
    """Remove it and end the other sessions: whoever has it is out.

    Refuses one that is not the actor's.
    """
    if uow.actor.user_id is None:
        raise Unauthenticated()
    if not await factors.remove_passkey(uow, uow.actor, cmd.passkey_id):
        raise PasskeyNotFound()
    await end_others(uow, uow.actor.user_id)


@dataclass(frozen=True, slots=True)
class RefusePasskey:
    """Let nobody in by a passkey that does not fit, or whose user is switched off."""

    action: ClassVar[str] = "passkey.refuse"
    user_id: UUID | None


async def refuse_passkey(uow: UnitOfWork, cmd: RefusePasskey) -> Never:
    """Refuse; the audit trail tells whose it is, where that is known."""
    uow.tell(cmd.user_id)
    raise InvalidPasskey()


class PasskeyDesk:
    """What of passkeys needs to know where the bank is and which key signs its challenges."""

    def __init__(self, runner: Runner, passkeys: Passkeys) -> None:
        self._runner = runner
        self._passkeys = passkeys

    async def creation_options(self, actor: Actor) -> dict[str, Any]:
        """What a browser needs to make a passkey for the actor; good for this session alone."""
        found = await self._runner.view(logins.find_with_password, actor)
        if found is None:
            raise Unauthenticated()
        user = found[0]
        known = await self._runner.view(factors.passkeys_of, user.id)
        return self._passkeys.creation_options(
            user.id.bytes, user.email, [one.credential_id for one in known], _create(actor)
        )

    async def add(self, name: str, credential: Mapping[str, Any], actor: Actor) -> Passkey:
        """Store a passkey that was made for such options; refuses any other."""
        try:
            new = self._passkeys.made(credential, _create(actor))
        except PasskeyRefused:
            raise WrongFactor() from None
        return await self._runner.run(add_passkey, AddPasskey(name, new), actor)

    def request_options(self) -> dict[str, Any]:
        """What a browser needs to have a challenge signed by any passkey of this bank."""
        return self._passkeys.request_options(_ASSERT)

    async def check(self, credential: Mapping[str, Any]) -> tuple[UUID, PasskeyProof] | None:
        """Whose passkey has signed a challenge, and the proof, still to be used; None for none."""
        try:
            named = credential_id(credential)
            passkey = await self._runner.view(factors.passkey_by_credential, named)
            if passkey is None:
                return None
            done = self._passkeys.asserted(
                credential,
                _ASSERT,
                passkey.user_id.bytes,
                passkey.public_key,
                passkey.sign_count,
            )
        except PasskeyRefused:
            return None
        return passkey.user_id, PasskeyProof(
            passkey.id, done.sign_count, done.challenge.hash, done.challenge.ends_at
        )


def _create(actor: Actor) -> str:
    return f"create {actor.user_id} {actor.session_id}"
