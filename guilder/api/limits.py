"""Rate limits as the gateway keeps them: who may go on, and what the answer says of it.

What cannot be counted is not simply let through: when the store of a class is away, its buckets
are those of this process. Only looking is free then, for it changes nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from guilder.api.auth import authenticate, was_valid
from guilder.api.client import address_key
from guilder.api.exchange import Exchange
from guilder.api.policies import (
    FAILED_TOKENS,
    GUESSES,
    LOGIN,
    RateLimitPolicy,
    RouteClass,
)
from guilder.core.clock import SECOND_US, Clock
from guilder.core.errors import RateLimited, Unauthenticated, Unavailable
from guilder.core.ports import RateLimiter
from guilder.core.rates import Rate, Verdict

MAX_BARRED: Final = 10_000
MAX_BAR_US: Final = 60 * SECOND_US
"""More is left only when the clock was set back."""

NO_RATES: Final[Mapping[str, Rate]] = MappingProxyType({})

type Stores = Mapping[RouteClass, RateLimiter]


def ignore_hit(_route_class: str) -> None:
    """The hook that counts nothing."""


class RateLimits:
    """Admits requests; ``stores`` says where the buckets of a class are, ``local`` otherwise.

    ``on_hit`` is told the class of every request that is refused; ``rates`` are other ones than
    the policies' own, by their names.
    """

    def __init__(
        self,
        stores: Stores,
        local: RateLimiter,
        clock: Clock,
        on_hit: Callable[[str], None] = ignore_hit,
        rates: Mapping[str, Rate] = NO_RATES,
    ) -> None:
        self._stores = stores
        self._local = local
        self._clock = clock
        self._on_hit = on_hit
        self._rates = rates
        self._chosen: dict[str, RateLimitPolicy] = {}
        self._barred: dict[str, int] = {}

    async def admit(self, policy: RateLimitPolicy, exchange: Exchange) -> None:
        """Take a token from the caller's bucket and add the rate limit headers.

        A guess is taken for wrong until ``settle`` knows better, so that many at once gain nothing.
        Raises ``RateLimited``.
        """
        policy, actor = self._as_set(policy), exchange.actor
        address = address_key(exchange.ip_address)
        who = address if actor.user_id is None else actor.user_id.hex
        verdict = await self._take(policy, f"{policy.name} {who}")
        if verdict is None:
            return
        if verdict.allowed and policy.name == LOGIN.name:
            for guesses in map(self._as_set, GUESSES):
                key = f"{guesses.name} {address}"
                wrong = await self._take(guesses, key)
                if wrong is not None and not wrong.allowed:
                    await self.settle(exchange)
                    exchange.extra_headers += headers_of(guesses, wrong)
                    self._refuse(guesses, wrong)
                exchange.taken.append((guesses, key))
        exchange.extra_headers += headers_of(policy, verdict)
        if not verdict.allowed:
            self._refuse(policy, verdict)

    async def settle(self, exchange: Exchange) -> None:
        """Give back what a guess that was not wrong has taken."""
        for policy, key in exchange.taken:
            store = self._stores.get(policy.route_class, self._local)
            try:
                await store.give_back(key, policy.rate)
            except Unavailable:
                await self._local.give_back(key, policy.rate)
        exchange.taken.clear()

    def _as_set(self, policy: RateLimitPolicy) -> RateLimitPolicy:
        """The policy with the rate that the settings give it."""
        if (chosen := self._chosen.get(policy.name)) is None:
            rate = self._rates.get(policy.name, policy.rate)
            chosen = self._chosen[policy.name] = replace(policy, rate=rate)
        return chosen

    async def authenticate(self, exchange: Exchange) -> None:
        """Authenticate the caller. Raises ``Unauthenticated`` or ``RateLimited``.

        After too many invalid tokens from one address only tokens that were valid here before are
        verified, until its bucket has refilled: nobody is locked out by a neighbour.
        """
        if self._barred:
            self._refuse_barred(exchange)
        try:
            await authenticate(exchange)
        except Unauthenticated:
            await self._failed(exchange)
            raise

    async def _failed(self, exchange: Exchange) -> None:
        address, policy = address_key(exchange.ip_address), self._as_set(FAILED_TOKENS)
        verdict = await self._take(policy, f"{policy.name} {address}")
        if verdict is not None and not verdict.allowed:
            if len(self._barred) >= MAX_BARRED:
                self._barred.clear()
            until_us = self._clock.now_us() + verdict.retry_after_seconds * SECOND_US
            self._barred[address] = until_us
            self._refuse(policy, verdict)

    def _refuse_barred(self, exchange: Exchange) -> None:
        address = address_key(exchange.ip_address)
        until_us = self._barred.get(address)
        if until_us is None:
            return
        left_us = until_us - self._clock.now_us()
        if not 0 < left_us <= MAX_BAR_US:
            del self._barred[address]
        elif not was_valid(exchange):
            self._on_hit(FAILED_TOKENS.route_class)
            raise RateLimited(retry_after_seconds=-(-left_us // SECOND_US))

    def _refuse(self, policy: RateLimitPolicy, verdict: Verdict) -> None:
        self._on_hit(policy.route_class)
        raise RateLimited(retry_after_seconds=verdict.retry_after_seconds)

    async def _take(self, policy: RateLimitPolicy, key: str) -> Verdict | None:
        """What the bucket says; None when its store is away and the request only reads."""
        store = self._stores.get(policy.route_class, self._local)
        try:
            return await store.take(key, policy.rate)
        except Unavailable:
            if policy.route_class is RouteClass.READ:
                return None
            return await self._local.take(key, policy.rate)


def headers_of(policy: RateLimitPolicy, verdict: Verdict) -> list[tuple[bytes, bytes]]:
    """The rate limit headers of an answer: the IETF draft's and the older ``X-RateLimit`` ones."""
    _, left, reset_seconds, _ = verdict
    return [
        *policy.headers,
        (b"ratelimit", b'"%b";r=%d;t=%d' % (policy.name.encode(), left, reset_seconds)),
        (b"x-ratelimit-remaining", b"%d" % left),
        (b"x-ratelimit-reset", b"%d" % reset_seconds),
    ]
