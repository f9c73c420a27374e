"""Idempotency over HTTP: the key a client sends, and answers that are given once or replayed."""

import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, Final

from fastapi import Depends, Header, Request

from guilder.api.deps import TheExchange
from guilder.api.exchange import Exchange, exchange_of
from guilder.api.headers import IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED
from guilder.api.replies import JSON, Reply, created, to_json
from guilder.core.actor import Actor
from guilder.core.errors import FieldError, Invalid, Place
from guilder.db.idempotency import Answer, Key, digest, fingerprint
from guilder.db.run import Command, Replayed, Runner
from guilder.db.unit_of_work import UnitOfWork
from guilder.infra.security.macs import SecretMac

MAX_KEY_LENGTH: Final = 255
REPLAYED: Final = {IDEMPOTENCY_REPLAYED: "true"}
NO_SECRETS: Final[Mapping[str, str]] = {}

DOCUMENTED: Final = (
    "Makes a repeated request safe: once a request has been accepted, the same one under the same "
    "key is given the first answer again, with `Idempotency-Replayed: true`, and another one is "
    "refused (`idempotency_conflict`). A refusal is not kept and leaves the key free: what was "
    "refused for lack of funds may be sent again under it. Keys belong to the caller. "
    "The key of what moves money is kept for ever, any other for as long as the bank sets, 30 "
    "days unless it does: then it is a new one."
)
_MESSAGE: Final = f"The key must have 1 to {MAX_KEY_LENGTH} printable ASCII characters."


def key_text(exchange: Exchange) -> str | None:
    """The client's idempotency key, None without one. Raises ``Invalid`` for a malformed key."""
    raw = exchange.headers.get(b"idempotency-key")
    if raw is None:
        return None
    text = raw.decode("latin-1")
    if not (1 <= len(text) <= MAX_KEY_LENGTH and text.isascii() and text.isprintable()):
        broken = FieldError(IDEMPOTENCY_KEY, "invalid_key", _MESSAGE, Place.HEADER)
        raise Invalid(fields=(broken,))
    return text


def key_of(
    exchange: Exchange, actor: Actor, command: Command, secrets: Mapping[str, Sequence[bytes]]
) -> Key | None:
    """The key of a request within the scope of its caller, None when the client sent none.

    Its fingerprint is of the operation and of the command's fields, which are checked and
    normalised. ``secrets`` are fields whose place their MACs take, that with the newest key first.
    """
    text = key_text(exchange)
    if text is None:
        return None
    given = {one.name: getattr(command, one.name) for one in dataclasses.fields(command)}
    facts = {name: value for name, value in given.items() if value is not None}
    first, *earlier = (
        fingerprint((exchange.method, exchange.template, facts | hidden))
        for hidden in _versions(secrets)
    )
    return Key(digest(actor.scope, text), first, tuple(earlier))


def _versions(secrets: Mapping[str, Sequence[bytes]]) -> list[dict[str, bytes]]:
    """The secrets of a request as the MACs of one key each."""
    if not secrets:
        return [{}]
    return [dict(zip(secrets, macs, strict=True)) for macs in zip(*secrets.values(), strict=True)]


async def idempotency_key(
    request: Request,
    _documented: Annotated[
        str | None,
        Header(
            alias=IDEMPOTENCY_KEY,
            description=DOCUMENTED,
            json_schema_extra={"minLength": 1, "maxLength": MAX_KEY_LENGTH, "pattern": "^[ -~]+$"},
        ),
    ] = None,
) -> str | None:
    """The key that the client sent with the request."""
    return key_text(exchange_of(request))


IdempotencyKey = Annotated[str | None, Depends(idempotency_key)]
"""Declares the header on a route that is not run by ``Once``."""


class Once:
    """Runs the command of a request at most once for its idempotency key, and answers."""

    def __init__(self, runner: Runner, exchange: Exchange, macs: SecretMac) -> None:
        self._runner = runner
        self._exchange = exchange
        self._macs = macs

    async def run[C: Command, T](
        self,
        handler: Callable[[UnitOfWork, C], Awaitable[T]],
        command: C,
        actor: Actor,
        body: Callable[[T], Any],
        *,
        place: str | None = None,
        secrets: Mapping[str, str] = NO_SECRETS,
    ) -> Reply:
        """Run it and answer ``body(value)``; with a key, once, and the same again later.

        With a ``place``, see ``created``, something is made and the status is 201.
        ``secrets`` are fields of the command that come of a secret, such as a password, each with
        that secret: the fingerprint has a MAC of it in the field's place.
        """

        def answer_of(value: T) -> Answer:
            return Answer(200 if place is None else 201, to_json(body(value)))

        macs = {name: self._macs.of(secret) for name, secret in secrets.items()}
        key = key_of(self._exchange, actor, command, macs)
        headers = None
        if key is None:
            answer = answer_of(await self._runner.run(handler, command, actor))
        else:
            outcome = await self._runner.run_once(handler, command, actor, key, answer_of)
            headers = REPLAYED if isinstance(outcome, Replayed) else None
            assert outcome.answer is not None
            answer = outcome.answer
        if place is not None:
            return created(place, answer.body, headers)
        return Reply(answer.status, answer.body, JSON, headers)


def once_of(exchange: Exchange) -> Once:
    """What runs the command of this request at most once."""
    return Once(exchange.parts[Runner], exchange, exchange.parts[SecretMac])


async def _once(exchange: TheExchange, _key: IdempotencyKey) -> Once:
    return once_of(exchange)


TheOnce = Annotated[Once, Depends(_once)]
