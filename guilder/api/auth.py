"""Who calls: a bearer token becomes an actor. How a token is proved is ``identity``'s to know."""

import asyncio
from dataclasses import dataclass
from time import monotonic
from typing import Annotated, Final, Protocol
from uuid import UUID

from fastapi import Depends, Request

from guilder.api.exchange import Exchange, exchange_of
from guilder.core.actor import Actor, Role
from guilder.core.clock import SECOND_US, Clock
from guilder.core.errors import Forbidden, Unauthenticated

LONGEST_HEADER: Final = 4096 + len("Bearer ")
TRUST_SECONDS: Final = 1.0
"""How long a proved token is believed. A revocation is seen everywhere within this time."""
MOST_TOKENS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Principal:
    """Whom a token stands for; ``expires_at`` in microseconds since 1970."""

    user_id: UUID
    role: Role
    session_id: UUID | None
    expires_at: int


class Authenticator(Protocol):
    """Proves tokens: signature, session, version, user. Raises ``Unauthenticated``."""

    async def authenticate(self, token: str) -> Principal:
        """Whom the token stands for."""
        ...


class TokenCache:
    """Believes a proved token for a moment, so that the next request costs a look-up.

    The moment begins when the proof begins: whatever was revoked before that was seen by it.
    Requests that arrive with a token while it is being proved wait for that one proof.
    """

    def __init__(self, authenticator: Authenticator, clock: Clock) -> None:
        self._authenticator = authenticator
        self._clock = clock
        self._proved: dict[str, tuple[float, Principal]] = {}
        self._proofs: dict[str, asyncio.Task[Principal]] = {}

    def known(self, token: str) -> Principal | None:
        """Whom a token stands for when that was proved a moment ago."""
        found = self._proved.get(token)
        if found is None:
            return None
        if found[0] < monotonic():
            del self._proved[token]
            return None
        return found[1]

    async def authenticate(self, token: str) -> Principal:
        """Whom the token stands for; refuses one that does not hold."""
        if (principal := self.known(token)) is not None:
            return principal
        proof = self._proofs.get(token)
        if proof is None:
            proof = self._proofs[token] = asyncio.create_task(self._prove(token))
            proof.add_done_callback(lambda done: self._ended(token, done))
        return await asyncio.shield(proof)

    def forget(self, session_id: UUID | None = None) -> None:
        """Stop believing the tokens of a session, or all, at once in this process."""
        if session_id is None:
            self._proved.clear()
        for token, (_, principal) in list(self._proved.items()):
            if principal.session_id == session_id:
                del self._proved[token]

    def _ended(self, token: str, proof: asyncio.Task[Principal]) -> None:
        self._proofs.pop(token, None)
        if not proof.cancelled():
            proof.exception()  # marks it as seen: nobody may be left to await it

    async def _prove(self, token: str) -> Principal:
        begun = monotonic()
        principal = await self._authenticator.authenticate(token)
        seconds = min(TRUST_SECONDS, (principal.expires_at - self._clock.now_us()) / SECOND_US)
        if seconds <= 0:
            raise Unauthenticated()
        while len(self._proved) >= MOST_TOKENS:
            del self._proved[next(iter(self._proved))]
        self._proved[token] = (begun + seconds, principal)
        return principal


def bearer_token(header: bytes | None) -> str:
    """The token of an ``Authorization`` header; refuses any other scheme and no header."""
    if header is None or len(header) > LONGEST_HEADER or header[:7].lower() != b"bearer ":
        raise Unauthenticated()
    token = header[7:].strip(b" ")
    if not token or not token.isascii():
        raise Unauthenticated()
    return token.decode("ascii")


async def authenticate(exchange: Exchange) -> Actor:
    """Prove who calls and keep it in the exchange; ``app.state.tokens`` is the token cache."""
    token = bearer_token(exchange.headers.get(b"authorization"))
    tokens: TokenCache = exchange.services.tokens
    who = tokens.known(token) or await tokens.authenticate(token)
    exchange.actor = Actor(
        who.user_id, who.role, exchange.request_id, exchange.ip_address, who.session_id
    )
    return exchange.actor


def permit(actor: Actor, *roles: Role) -> None:
    """Refuse an actor who has none of ``roles``."""
    if actor.role not in roles:
        raise Forbidden()


async def current_actor(request: Request) -> Actor:
    """The signed-in caller. The gateway has proved the token before anything else was read."""
    return exchange_of(request).actor


async def anonymous_actor(request: Request) -> Actor:
    """The caller of a route that nobody signs in for."""
    exchange = exchange_of(request)
    return Actor(None, None, exchange.request_id, exchange.ip_address)


CurrentActor = Annotated[Actor, Depends(current_actor)]
"""A route with this, in itself or in what it depends on, is answered 401 to everyone else."""


async def writing_actor(actor: CurrentActor) -> Actor:
    """The signed-in caller, who may change things."""
    permit(actor, Role.USER, Role.ADMIN)
    return actor


async def admin_actor(actor: CurrentActor) -> Actor:
    """The signed-in caller, who is an administrator."""
    permit(actor, Role.ADMIN)
    return actor


WritingActor = Annotated[Actor, Depends(writing_actor)]
AdminActor = Annotated[Actor, Depends(admin_actor)]
AnonymousActor = Annotated[Actor, Depends(anonymous_actor)]
