"""Authentication at the API: a bearer token becomes an actor; ``identity`` verifies the token."""

import asyncio
from dataclasses import dataclass
from time import monotonic
from typing import Annotated, Any, Final, Protocol
from uuid import UUID

from fastapi import Depends, Request

from guilder.api.exchange import Exchange, exchange_of
from guilder.core.actor import Actor, FactorDemand, require_fresh
from guilder.core.clock import SECOND_US, Clock
from guilder.core.errors import Forbidden, SecondFactorDemanded, StepUpRequired, Unauthenticated
from guilder.core.permissions import Permission, Role

MAX_AUTHORIZATION_LENGTH: Final = 4096 + len("Bearer ")
TRUST_SECONDS: Final = 1.0
"""How long a proved token is believed. A revocation is seen everywhere within this time."""
MAX_CACHED_TOKENS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Principal:
    """The user and session that a token identifies; instants in microseconds since 1970.

    ``proved_at`` is when the user last signed in or stepped up, None if never. ``role`` is less
    than the user's until the ``demand`` is met.
    """

    user_id: UUID
    role: Role
    session_id: UUID | None
    expires_at: int
    proved_at: int | None = None
    demand: FactorDemand | None = None


class Authenticator(Protocol):
    """Verifies tokens: signature, session, version, user. Raises ``Unauthenticated``."""

    async def authenticate(self, token: str) -> Principal:
        """The principal of the token."""
        ...


class TokenCache:
    """Caches verified tokens for a second, so that the next request costs a look-up.

    The second begins with the verification: it has seen whatever was revoked before. Requests that
    arrive with a token while it is being verified wait for that one verification.
    """

    def __init__(self, authenticator: Authenticator, clock: Clock) -> None:
        self.clock = clock
        self._authenticator = authenticator
        self._proved: dict[str, tuple[float, Principal]] = {}
        self._proofs: dict[str, asyncio.Task[Principal]] = {}

    def cached(self, token: str) -> Principal | None:
        """The principal of a token that was verified within the last second, else None."""
        found = self._proved.get(token)
        return None if found is None or found[0] < monotonic() else found[1]

    def was_valid(self, token: str) -> bool:
        """Whether the token was valid when last verified; the oldest are forgotten."""
        return token in self._proved

    async def authenticate(self, token: str) -> Principal:
        """The principal of the token. Raises ``Unauthenticated``."""
        if (principal := self.cached(token)) is not None:
            return principal
        proof = self._proofs.get(token)
        if proof is None:
            proof = self._proofs[token] = asyncio.create_task(self._prove(token))
            proof.add_done_callback(lambda done: self._ended(token, done))
        return await asyncio.shield(proof)

    async def verify(self, token: str) -> Principal:
        """The principal of the token, verified now, whatever is cached.

        Raises ``Unauthenticated``.
        """
        return await self._prove(token)

    def forget(self, session_id: UUID | None = None) -> None:
        """Drop the cached tokens of a session, or of all, in this process."""
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
    """The token of an ``Authorization`` header.

    Raises ``Unauthenticated`` without a bearer token.
    """
    if header is None or len(header) > MAX_AUTHORIZATION_LENGTH or header[:7].lower() != b"bearer ":
        raise Unauthenticated()
    token = header[7:].strip(b" ")
    if not token or not token.isascii():
        raise Unauthenticated()
    return token.decode("ascii")


def was_valid(exchange: Exchange) -> bool:
    """Whether the request's token was valid when this process last verified it."""
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
        who.demand,
    )
    return exchange.actor


def require_permission(actor: Actor, permission: Permission) -> None:
    """Raises ``Forbidden`` unless the actor has the permission.

    Raises ``SecondFactorDemanded`` where a second factor would give it.
    """
    if not actor.has_permission(permission):
        raise Forbidden() if actor.demand is None else SecondFactorDemanded()


async def require_step_up(exchange: Exchange) -> None:
    """Raises what ``require_fresh`` does unless the caller has signed in or stepped up lately.

    A token from the cache is verified again first: its session may have stepped up in another
    process just now.
    """
    tokens = exchange.parts[TokenCache]
    try:
        require_fresh(exchange.actor, tokens.clock.now_us())
    except (StepUpRequired, SecondFactorDemanded):
        who = await tokens.verify(bearer_token(exchange.headers.get(b"authorization")))
        require_fresh(_act(exchange, who), tokens.clock.now_us())


class PermissionRequired:
    """A dependency: the authenticated caller, who has a permission, and is ``fresh`` if required.

    The gateway reads it off the route, and checks it before it reads the rest of the request.
    """

    def __init__(self, permission: Permission, *, fresh: bool = False) -> None:
        self.permission = permission
        self.fresh = fresh

    async def __call__(self, request: Request) -> Actor:
        """The caller."""
        return exchange_of(request).actor


def requires(permission: Permission, *, fresh: bool = False) -> Any:
    """Annotates a route's actor: the caller must have the permission.

    With ``fresh`` they must also have signed in or stepped up within the last minutes; the route
    then declares ``StepUpRequired``.
    """
    return Depends(PermissionRequired(permission, fresh=fresh))


async def anonymous_actor(request: Request) -> Actor:
    """The caller of a route without authentication."""
    exchange = exchange_of(request)
    return Actor(None, None, exchange.request_id, exchange.ip_address)


AnonymousActor = Annotated[Actor, Depends(anonymous_actor)]
"""The caller of a route that is open to everybody, which is said with this and nothing else."""
