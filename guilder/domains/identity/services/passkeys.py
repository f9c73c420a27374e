"""Passkeys: options for browsers, and what authenticators answer to them."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

from guilder.core.actor import Actor, require_proof
from guilder.core.errors import Unauthenticated
from guilder.core.passkeys import CredentialJson, InvalidPasskeyResponse, RelyingParty
from guilder.db.run import Runner
from guilder.domains.identity.commands.passkeys import AddPasskey, add_passkey
from guilder.domains.identity.repository import factors, users
from guilder.domains.identity.rules.factors import Passkey, PasskeyProof

_ASSERT: Final = "assert"
_UNKNOWN: Final = {"fields": {"reason": "nobody has such a passkey"}}

_log = logging.getLogger(__name__)


class PasskeyService:
    """Makes passkeys and checks what they sign, with the bank as relying party."""

    def __init__(self, runner: Runner, party: RelyingParty) -> None:
        self._runner = runner
        self._party = party

    async def creation_options(self, actor: Actor) -> dict[str, Any]:
        """WebAuthn creation options for the actor, good for this session.

        Raises ``Unauthenticated``.
        """
        found = await self._runner.view(users.find_with_password, actor)
        if found is None:
            raise Unauthenticated()
        user = found[0]
        known = await self._runner.view(factors.passkeys_of, user.id)
        return self._party.creation_options(
            user.id.bytes, user.email, [one.credential_id for one in known], _create(actor)
        )

    async def add(self, name: str, credential: CredentialJson, actor: Actor) -> Passkey:
        """Store a passkey that was made for such options. Raises ``WrongFactor`` for any other.

        Raises ``SecondFactorDemanded`` as ``require_proof`` does.
        """
        require_proof(actor)
        new = None
        with suppress(InvalidPasskeyResponse):
            new = self._party.verify_registration(credential, _create(actor))
        return await self._runner.run(add_passkey, AddPasskey(name, new), actor)

    @property
    def origins(self) -> Sequence[str]:
        """The origins of pages that may use passkeys of this bank."""
        return self._party.origins

    def request_options(self) -> dict[str, Any]:
        """WebAuthn request options, for any passkey of this bank."""
        return self._party.request_options(_ASSERT)

    async def check(self, credential: CredentialJson) -> tuple[UUID, PasskeyProof] | None:
        """The user whose passkey signed a challenge, and the unused proof; None if invalid."""
        try:
            named = self._party.credential_id(credential)
            passkey = await self._runner.view(factors.passkey_by_credential, named)
            if passkey is None:
                _log.warning("a passkey was refused", extra=_UNKNOWN)
                return None
            done = self._party.verify_assertion(
                credential,
                _ASSERT,
                passkey.user_id.bytes,
                passkey.public_key,
                passkey.sign_count,
            )
        except InvalidPasskeyResponse:
            return None
        return passkey.user_id, PasskeyProof(
            passkey.id, done.sign_count, done.challenge.hash, done.challenge.ends_at
        )


def _create(actor: Actor) -> str:
    return f"create {actor.user_id} {actor.session_id}"
