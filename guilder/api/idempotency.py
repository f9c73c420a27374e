"""Idempotency over HTTP: the key a client sends, and answers that are given once or replayed."""

import json
from collections.abc import Awaitable, Callable, Collection
from typing import Annotated, Any, Final

from fastapi import Depends, Header, Request

from guilder.api.deps import TheExchange, TheRunner
from guilder.api.exchange import Exchange, exchange_of
from guilder.api.headers import IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED
from guilder.api.replies import JSON, Reply, json_response, to_json
from guilder.core.actor import Actor
from guilder.core.errors import FieldError, Invalid, Place
from guilder.db.idempotency import Answer, Key, digest
from guilder.db.run import Command, Replayed, Runner
from guilder.db.unit_of_work import UnitOfWork

MAX_KEY_LENGTH: Final = 255
REPLAYED: Final = {IDEMPOTENCY_REPLAYED: "true"}

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


def fingerprint(exchange: Exchange, secrets: Collection[str] = ()) -> bytes:
    """16 bytes that are the same for the same request: method, path and canonical body.

    Name the top-level fields that hold secrets: a stored hash of a password would let whoever
    reads the database try passwords at full speed.
    """
    document = exchange.document
    if isinstance(document, dict) and secrets:
        document = {name: value for name, value in document.items() if name not in secrets}
    body = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return digest(exchange.method, exchange.scope["path"], body)


def key_of(exchange: Exchange, actor: Actor, secrets: Collection[str] = ()) -> Key | None:
    """The key of a request within the scope of its caller, None when the client sent none."""
    text = key_text(exchange)
    if text is None:
        return None
    return Key(digest(actor.scope, text), fingerprint(exchange, secrets))


async def idempotency_key(
    request: Request,
    _documented: Annotated[
        str | None,
        Header(
            alias=IDEMPOTENCY_KEY,
            description="Makes a repeated request safe: the first answer is given again.",
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

    def __init__(self, runner: Runner, exchange: Exchange) -> None:
        self._runner = runner
        self._exchange = exchange

    async def run[C: Command, T](
        self,
        handler: Callable[[UnitOfWork, C], Awaitable[T]],
        command: C,
        actor: Actor,
        body: Callable[[T], Any],
        *,
        status: int = 201,
        secrets: Collection[str] = (),
    ) -> Reply:
        """Run it and answer ``body(value)``; with a key, once, and the same again later.

        ``secrets`` are fields of the request that its fingerprint leaves out.
        """
        key = key_of(self._exchange, actor, secrets)
        if key is None:
            return json_response(status, body(await self._runner.run(handler, command, actor)))
        outcome = await self._runner.run_once(
            handler, command, actor, key, lambda value: Answer(status, to_json(body(value)))
        )
        headers = REPLAYED if isinstance(outcome, Replayed) else None
        answer = outcome.answer
        assert answer is not None
        return Reply(answer.status, answer.body, JSON, headers)


async def _once(exchange: TheExchange, runner: TheRunner, _key: IdempotencyKey) -> Once:
    return Once(runner, exchange)


TheOnce = Annotated[Once, Depends(_once)]
