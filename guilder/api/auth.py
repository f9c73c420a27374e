"""Who calls: a bearer token becomes an actor. How a token is proved is ``identity``'s to know."""

import asyncio
from dataclasses import dataclass
from time import monotonic
from typing import Annotated, Any, Final, Protocol
from uuid import UUID

from fastapi import Depends, Request

from guilder.api.exchange import Exchange, exchange_of
from guilder.core.actor import Actor, require_fresh
from guilder.core.clock import SECOND_US, Clock
from guilder.core.errors import Forbidden, StepUpRequired, Unauthenticated
from guilder.core.permissions import Permission, Role

MAX_AUTHORIZATION_LENGTH: Final = 4096 + len("Bearer ")
TRUST_SECONDS: Final = 1.0
"""How long a proved token is believed. A revocation is seen everywhere within this time."""
MAX_CACHED_TOKENS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Principal:
    """Whom a token stands for; instants in microseconds since 1970.

    ``proved_at`` is when they last gave more than the token, None when they never did.
    """

    user_id: UUID
    role: Role
    session_id: UUID | None
    expires_at: int
    proved_at: int | None = None


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
        self.clock = clock
        self._authenticator = authenticator
        self._proved: dict[str, tuple[float, Principal]] = {}
        self._proofs: dict[str, asyncio.Task[Principal]] = {}

    def cached(self, token: str) -> Principal | None:
        """Whom a token stands for when that was proved a moment ago."""
        found = self._proved.get(token)
        return None if found is None or found[0] < monotonic() else found[1]

    def was_valid(self, token: str) -> bool:
        """Whether the last proof of a token held, however long ago; the oldest are forgotten."""
        return token in self._proved

    async def authenticate(self, token: str) -> Principal:
        """Whom the token stands for; refuses one that does not hold."""
        if (principal := self.cached(token)) is not None:
            return principal
        proof = self._proofs.get(token)
        if proof is None:
            proof = self._proofs[token] = asyncio.create_task(self._prove(token))
            proof.add_done_callback(lambda done: self._ended(token, done))
        return await asyncio.shield(proof)

    async def verify(self, token: str) -> Principal:
        """Whom the token stands for now, whatever is believed of it; refuses as above."""
        return await self._prove(token)

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
        try:
            principal = await self._authenticator.authenticate(token)
            seconds = min(TRUST_SECONDS, (principal.expires_at - self.clock.now_us()) / SECOND_US)
            if seconds <= 0:
                raise Unauthenticated()
        except Unauthenticated:
            self._proved.pop(token, None)
            raise
        self._proved.pop(token, None)
        while len(self._proved) >= MAX_CACHED_TOKENS:
            del self._proved[next(iter(self._proved))]
        self._proved[token] = (begun + seconds, principal)
        return principal


def bearer_token(header: bytes | None) -> str:
    """The token of an ``Authorization`` header; refuses any other scheme and no header."""
    if header is None or len(header) > MAX_AUTHORIZATION_LENGTH or header[:7].lower() != b"bearer ":
        raise Unauthenticated()
    token = header[7:].strip(b" ")
    if not token or not token.isascii():
        raise Unauthenticated()
    return token.decode("ascii")


def was_valid(exchange: Exchange) -> bool:
    """Whether the token of a request is one that was good when it was last proved here."""
    tokens = exchange.parts[TokenCache]
    try:
        return tokens.was_valid(bearer_token(exchange.headers.get(b"authorization")))
    except Unauthenticated:
        return False


async def authenticate(exchange: Exchange) -> Actor:
    """Prove who calls and keep it in the exchange."""
    token = bearer_token(exchange.headers.get(b"authorization"))
    tokens = exchange.parts[TokenCache]
    who = tokens.cached(token) or await tokens.authenticate(token)
    return _act(exchange, who)


def _act(exchange: Exchange, who: Principal) -> Actor:
    exchange.actor = Actor(
        who.user_id,
        who.role,
        exchange.request_id,
        exchange.ip_address,
        who.session_id,
        who.proved_at,
    )
    return exchange.actor


def require_permission(actor: Actor, permission: Permission) -> None:
    """Refuse an actor who has not the permission."""
    if not actor.has_permission(permission):
        raise Forbidden()


async def require_step_up(exchange: Exchange) -> None:
    """Refuse a caller who has not proved lately who they are.

    What was believed for a moment is looked up before it is held against them: they may have
    stepped up in another process just now.
    """
    tokens = exchange.parts[TokenCache]
    try:
        require_fresh(exchange.actor, tokens.clock.now_us())
    except StepUpRequired:
        who = await tokens.verify(bearer_token(exchange.headers.get(b"authorization")))
        require_fresh(_act(exchange, who), tokens.clock.now_us())


class PermissionRequired:
    """A dependency: the signed-in caller, who has a permission, and is ``fresh`` if that is asked.

    The gateway reads it off the route, and has proved all that before anything else of the request
    was read.
    """

    def __init__(self, permission: Permission, *, fresh: bool = False) -> None:
        self.permission = permission
        self.fresh = fresh

    async def __call__(self, request: Request) -> Actor:
        """The caller."""
        return exchange_of(request).actor


def requires(permission: Permission, *, fresh: bool = False) -> Any:
    """What a route's actor is annotated with: the caller must have the permission.

    With ``fresh`` they must also have given a password or a factor within the last minutes; the
    route's refusals name ``StepUpRequired`` then.
    """
    return Depends(PermissionRequired(permission, fresh=fresh))


async def anonymous_actor(request: Request) -> Actor:
    """The caller of a route that nobody signs in for."""
    exchange = exchange_of(request)
    return Actor(None, None, exchange.request_id, exchange.ip_address)


AnonymousActor = Annotated[Actor, Depends(anonymous_actor)]
"""The caller of a route that is open to everybody, which is said with this and nothing else."""
