"""How often each route may be asked: the policies, and how a route is given one.

A route whose caller is signed in has a policy by its method, ``READ`` or ``WRITE``. Every other
route, and one that takes a large body, names its own with ``@rate_limited``. How often that is,
``core.rates.RATES`` says, and settings may say otherwise.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from guilder.core.rates import RATES, Rate


class RouteClass(StrEnum):
    """What kind of work a route is; the class decides where its buckets are kept."""

    READ = "read"
    WRITE = "write"
    BULK = "bulk"
    STRICT = "strict"


@dataclass(frozen=True, slots=True)
class RateLimitPolicy:
    """A named limit; ``headers`` say it in every answer.

    The routes of a policy share one bucket for each caller, so that a guess is a guess by whichever
    of them it comes.
    """

    name: str
    route_class: RouteClass
    rate: Rate
    about: str
    headers: tuple[tuple[bytes, bytes], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        told = f'"{self.name}";q={self.rate.capacity};w={self.rate.window_seconds}'
        headers = (
            (b"ratelimit-policy", told.encode("ascii")),
            (b"x-ratelimit-limit", str(self.rate.capacity).encode("ascii")),
        )
        object.__setattr__(self, "headers", headers)


def _policy(name: str, route_class: RouteClass, about: str) -> RateLimitPolicy:
    return RateLimitPolicy(name, route_class, RATES[name], about)


READ: Final = _policy("read", RouteClass.READ, "What only looks.")
WRITE: Final = _policy("write", RouteClass.WRITE, "What changes something.")
BULK: Final = _policy("bulk", RouteClass.BULK, "Many changes in one request.")
LOGIN: Final = _policy(
    "login", RouteClass.STRICT, "Signing in, and proving again who one is; right or wrong."
)
WRONG_GUESSES: Final = _policy(
    "wrong_guesses",
    RouteClass.STRICT,
    "Wrong passwords, codes and passkeys from one address, under `login`. Right ones do not count.",
)
WRONG_GUESSES_A_DAY: Final = _policy(
    "wrong_guesses_a_day", RouteClass.STRICT, "The same, over a day."
)
SIGN_UP: Final = _policy("sign_up", RouteClass.STRICT, "Making a login.")
REFRESH: Final = _policy("refresh", RouteClass.STRICT, "Exchanging refresh tokens.")
RECOVERY: Final = _policy(
    "recovery", RouteClass.STRICT, "Resetting passwords and proving addresses."
)
REVEAL: Final = _policy("reveal", RouteClass.STRICT, "Showing a secret again.")
FAILED_TOKENS: Final = _policy(
    "failed_tokens",
    RouteClass.WRITE,
    "Bad access tokens from one address, on any route. Past it only tokens that have worked before"
    " are looked at.",
)
HEALTH: Final = _policy("health", RouteClass.READ, "Health and metrics.")
ASSETS: Final = _policy(
    "assets", RouteClass.READ, "The reference: its pages, what they load, and `/openapi.json`."
)

POLICIES: Final = (
    READ, WRITE, BULK, LOGIN, WRONG_GUESSES, WRONG_GUESSES_A_DAY, SIGN_UP, REFRESH, RECOVERY,
    REVEAL, FAILED_TOKENS, HEALTH, ASSETS,
)  # fmt: skip
"""Every policy, in the order of the reference."""
GUESSES: Final = (WRONG_GUESSES, WRONG_GUESSES_A_DAY)
"""What a wrong guess takes from as well, under ``LOGIN``."""

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
