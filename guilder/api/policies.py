"""How often each route may be asked: the policies, and how a route is given one.

A route whose caller is signed in has a policy by its method, ``READ`` or ``WRITE``. Every other
route, and one that takes more than an ordinary body, names its own with ``@limited``.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from guilder.core.rates import Rate


class RouteClass(StrEnum):
    """What kind of work a route is; the class decides where its buckets are kept."""

    NONE = "none"
    READ = "read"
    WRITE = "write"
    BULK = "bulk"
    STRICT = "strict"


@dataclass(frozen=True, slots=True)
class RateLimitPolicy:
    """A named limit; one without a ``rate`` limits nothing. ``headers`` say it in every answer.

    The routes of a strict policy share one bucket for each caller, so that a guess is a guess by
    whichever of them it comes. Under any other policy each route has a bucket of its own.
    """

    name: str
    route_class: RouteClass
    rate: Rate | None
    about: str
    headers: tuple[tuple[bytes, bytes], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        headers: tuple[tuple[bytes, bytes], ...] = ()
        if self.rate is not None:
            told = f'"{self.name}";q={self.rate.capacity};w={self.rate.window_seconds}'
            limit = str(self.rate.capacity)
            headers = (
                (b"ratelimit-policy", told.encode("ascii")),
                (b"x-ratelimit-limit", limit.encode("ascii")),
            )
        object.__setattr__(self, "headers", headers)


UNLIMITED: Final = RateLimitPolicy(
    "unlimited", RouteClass.NONE, None, "Health, metrics, the reference."
)
READ: Final = RateLimitPolicy("read", RouteClass.READ, Rate(60_000, 60), "What only looks.")
WRITE: Final = RateLimitPolicy(
    "write", RouteClass.WRITE, Rate(60_000, 60), "What changes something."
)
BULK: Final = RateLimitPolicy(
    "bulk", RouteClass.BULK, Rate(1_200, 60), "Many changes in one request."
)
LOGIN: Final = RateLimitPolicy(
    "login", RouteClass.STRICT, Rate(300, 60), "Signing in with a password."
)
SIGN_UP: Final = RateLimitPolicy("sign_up", RouteClass.STRICT, Rate(600, 60), "Making a login.")
REFRESH: Final = RateLimitPolicy(
    "refresh", RouteClass.STRICT, Rate(1_200, 60), "Exchanging refresh tokens."
)
RECOVERY: Final = RateLimitPolicy(
    "recovery", RouteClass.STRICT, Rate(60, 600), "Resetting passwords and proving addresses."
)
REVEAL: Final = RateLimitPolicy(
    "reveal", RouteClass.STRICT, Rate(30, 600), "Showing a secret again."
)
FAILED_TOKENS: Final = RateLimitPolicy(
    "failed_tokens",
    RouteClass.WRITE,
    Rate(600, 60),
    "Bad access tokens from one address, on any route. Past it only tokens that have worked before"
    " are looked at.",
)

POLICIES: Final = (
    READ, WRITE, BULK, LOGIN, SIGN_UP, REFRESH, RECOVERY, REVEAL, FAILED_TOKENS, UNLIMITED,
)  # fmt: skip
"""Every policy, in the order of the reference."""

_LIMITED: Final = "limited_by"
_LOOKING: Final = frozenset(("GET", "HEAD", "OPTIONS"))


def rate_limited[F: Callable[..., Any]](policy: RateLimitPolicy) -> Callable[[F], F]:
    """Give the endpoint under this decorator a policy."""

    def mark(endpoint: F) -> F:
        vars(endpoint)[_LIMITED] = policy
        return endpoint

    return mark


def declared_policy(endpoint: Callable[..., Any]) -> RateLimitPolicy | None:
    """The policy that an endpoint was given, if it was."""
    return getattr(endpoint, _LIMITED, None)


def policy_by_method(methods: frozenset[str]) -> RateLimitPolicy:
    """The policy of a route that was given none."""
    return READ if methods <= _LOOKING else WRITE
