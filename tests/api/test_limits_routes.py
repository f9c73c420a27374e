"""Rate limits at the gateway: whose bucket, when it is looked at, and what the answer says."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Final

import httpx
import pytest
from fastapi import APIRouter
from starlette.types import Message

from guilder.api import auth, limits
from guilder.api.app import Api
from guilder.api.auth import Principal, TokenCache
from guilder.api.deps import TheExchange
from guilder.api.exchange import Exchange
from guilder.api.limits import RateLimits, Stores
from guilder.api.middleware import GatewayOptions
from guilder.api.openapi import refusals
from guilder.api.policies import LOGIN, RateLimitPolicy, RouteClass, rate_limited
from guilder.api.replies import Reply, json_response
from guilder.api.routing import lean
from guilder.core.clock import FixedClock
from guilder.core.errors import Forbidden, Unauthenticated, Unavailable
from guilder.core.parts import Parts
from guilder.core.rates import Rate, Verdict
from guilder.infra.security.ratelimit import LocalRateLimiter
from tests.api.plumbing import (
    NOW,
    USER,
    CurrentActor,
    Gates,
    MoveCreate,
    move,
    problem,
)

GUESS: Final = RateLimitPolicy("guess", RouteClass.STRICT, Rate(3, 60), "Guessing.")
LOOK: Final = RateLimitPolicy("look", RouteClass.READ, Rate(3, 60), "Looking.")
CHANGE: Final = RateLimitPolicy("change", RouteClass.WRITE, Rate(3, 60), "Changing.")
FAILED: Final = RateLimitPolicy("failed", RouteClass.WRITE, Rate(4, 60), "Failing.")
NAMES: Final = (
    "ratelimit", "ratelimit-policy", "x-ratelimit-limit", "x-ratelimit-remaining",
    "x-ratelimit-reset",
)  # fmt: skip


class Wrong(Unauthenticated):
    code = "wrong"
    wrong_guess = True


async def lean_change(_: Exchange) -> Reply:
    return json_response(201, {})


def make_router() -> APIRouter:
    router = APIRouter()

    @router.post("/guesses")
    @rate_limited(GUESS)
    async def guess(exchange: TheExchange) -> int:
        return len(await exchange.read_body())

    @router.post("/other-guesses")
    @rate_limited(GUESS)
    async def guess_otherwise() -> None:
        """Guess by another way."""

    @router.get("/looks")
    @rate_limited(LOOK)
    async def look(exchange: TheExchange) -> str:
        return exchange.ip_address

    @router.get("/looks/{name}")
    @rate_limited(LOOK)
    async def look_at(name: str) -> str:
        return name

    @router.post("/changes", status_code=201)
    @rate_limited(CHANGE)
    @lean(lean_change)
    async def change(body: MoveCreate, actor: CurrentActor) -> None:
        """Change something."""

    @router.post("/sign-ins", responses=refusals(Wrong))
    @rate_limited(LOGIN)
    async def sign_in(exchange: TheExchange) -> None:
        match await exchange.read_body():
            case b"wrong":
                raise Wrong()
            case b"unverified":
                raise Forbidden()

    return router


class Users(Gates):
    """A fake of the port ``Authenticator``: a token of a user, or of another when it says so."""

    async def authenticate(self, token: str) -> Principal:
        who = await super().authenticate(token.removesuffix("2").removesuffix("3"))
        number = int(token[-1]) if token[-1].isdigit() else 0
        return Principal(
            type(USER)(int=USER.int + number), who.role, who.session_id, who.expires_at
        )


class Away:
    """A fake of the port ``RateLimiter``: a store that cannot be reached."""

    async def take(self, key: str, rate: Rate) -> Verdict:
        raise Unavailable()

    async def give_back(self, key: str, rate: Rate) -> None:
        raise Unavailable()


@dataclass
class Till:
    """The application, its clock, and what was counted."""

    stores: Stores = field(default_factory=dict)
    rates: dict[str, Rate] = field(default_factory=dict)
    clock: FixedClock = field(default_factory=lambda: FixedClock(NOW))
    hits: Counter[str] = field(default_factory=Counter)
    options: GatewayOptions = field(default_factory=GatewayOptions)

    def __post_init__(self) -> None:
        self.gates = Users()
        self.app = Api(title="Limits", version="1", gateway=self.options)
        self.app.include_router(make_router())
        self.app.parts = Parts(
            TokenCache(self.gates, self.clock),
            RateLimits(
                self.stores, LocalRateLimiter(self.clock), self.clock, self._hit, self.rates
            ),
        )

    def _hit(self, route_class: str) -> None:
        self.hits[route_class] += 1

    def client(self, address: str = "192.0.2.1", token: str = "") -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        transport = httpx.ASGITransport(self.app, client=(address, 1))
        return httpx.AsyncClient(transport=transport, base_url="http://bank", headers=headers)


@pytest.fixture
def till(monkeypatch: pytest.MonkeyPatch) -> Till:
    monkeypatch.setattr(limits, "FAILED_TOKENS", FAILED)
    return Till()


def told(response: httpx.Response) -> list[str]:
    return [response.headers[name] for name in NAMES]


async def used_up(client: httpx.AsyncClient, path: str, times: int = 3) -> None:
    """Ask until the bucket is empty, which it must not be before."""
    for _ in range(times):
        assert (await client.post(path)).status_code < 300
    problem(await client.post(path), 429, "rate_limited")


async def test_answers_count_down_and_the_refusal_says_when_to_come_back(till: Till) -> None:
    async with till.client() as client:
        for left, reset in ((2, 20), (1, 40), (0, 60)):
            answer = await client.get("/looks")
            assert answer.status_code == 200
            assert told(answer) == [
                f'"look";r={left};t={reset}', '"look";q=3;w=60', "3", str(left), str(reset),
            ]  # fmt: skip
            assert "retry-after" not in answer.headers
        refused = await client.get("/looks")
        problem(refused, 429, "rate_limited")
        assert told(refused) == ['"look";r=0;t=60', '"look";q=3;w=60', "3", "0", "60"]
        assert refused.headers["retry-after"] == "20"
        till.clock.advance(seconds=19)
        assert (await client.get("/looks")).headers["retry-after"] == "1"
        till.clock.advance(seconds=1)
        assert (await client.head("/looks")).status_code == 200
        assert (await client.get("/looks")).status_code == 429
    assert till.hits == {"read": 3}


async def test_wrong_guesses_are_few_and_right_ones_do_not_count(till: Till) -> None:
    async with till.client() as client:
        for _ in range(19):
            assert (await client.post("/sign-ins", content=b"wrong")).status_code == 401
            assert (await client.post("/sign-ins", content=b"right")).status_code == 200
            assert (await client.post("/sign-ins", content=b"unverified")).status_code == 403
        assert (await client.post("/sign-ins", content=b"wrong")).status_code == 401
        refused = await client.post("/sign-ins", content=b"right")
        problem(refused, 429, "rate_limited")
        assert refused.headers["retry-after"] == "3"
        assert "w=60" in refused.headers["ratelimit-policy"]
    async with till.client("192.0.2.2") as elsewhere:
        assert (await elsewhere.post("/sign-ins", content=b"right")).status_code == 200
    till.clock.advance(seconds=3)
    async with till.client() as client:
        assert (await client.post("/sign-ins", content=b"right")).status_code == 200


async def test_an_address_has_two_hundred_wrong_guesses_a_day(till: Till) -> None:
    wrong = 0
    async with till.client() as client:
        for _ in range(20 * 60):
            answer = await client.post("/sign-ins", content=b"wrong")
            wrong += answer.status_code == 401
            till.clock.advance(seconds=3)
        answer = await client.post("/sign-ins", content=b"wrong")
        assert "w=86400" in answer.headers["ratelimit-policy"]
    assert 200 <= wrong <= 200 + 1 + 20 * 60 * 3 * 200 // 86_400


async def test_many_guesses_at_once_gain_nothing(till: Till) -> None:
    async with till.client() as client:
        guesses = [client.post("/sign-ins", content=b"wrong") for _ in range(60)]
        said = Counter(answer.status_code for answer in await asyncio.gather(*guesses))
    assert said == {401: 20, 429: 40}


async def test_who_hangs_up_before_the_answer_has_guessed(till: Till) -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        raise AssertionError("nothing is answered")

    scope = {
        "type": "http", "method": "POST", "path": "/sign-ins", "query_string": b"",
        "headers": [], "client": ("192.0.2.1", 1),
    }  # fmt: skip
    for _ in range(20):
        await till.app(dict(scope), receive, send)
    async with till.client() as client:
        problem(await client.post("/sign-ins", content=b"right"), 429, "rate_limited")


async def test_a_setting_gives_a_policy_another_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    till = Till(rates={"guess": Rate(1, 3600), "wrong_guesses": Rate(2, 60)})
    async with till.client() as client:
        answer = await client.post("/guesses")
        assert told(answer)[1:3] == ['"guess";q=1;w=3600', "1"]
        problem(await client.post("/guesses"), 429, "rate_limited")
        for status in (401, 401, 429):
            assert (await client.post("/sign-ins", content=b"wrong")).status_code == status


async def test_limits_that_are_off_refuse_nobody(till: Till) -> None:
    del till.app.parts.by_class[RateLimits]
    async with till.client() as client:
        for _ in range(10):
            answer = await client.post("/guesses")
            assert answer.status_code == 200
            assert not set(NAMES) & set(answer.headers)


async def test_a_refused_request_is_not_read(till: Till) -> None:
    path = "/changes"

    async def receive_never() -> Message:
        raise AssertionError("the body was read")

    async with till.client(token="user") as client:
        for _ in range(3):
            assert (await client.post(path, json=move())).status_code == 201
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"authorization", b"Bearer user"), (b"content-length", b"9000")]
    scope = {
        "type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers,
        "client": ("192.0.2.1", 1),
    }  # fmt: skip
    await till.app(scope, receive_never, send)
    assert sent[0]["status"] == 429


async def test_a_signed_in_caller_has_a_bucket_wherever_they_are(till: Till) -> None:
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
        async with till.client(address, "user") as client:
            assert (await client.post("/changes", json=move())).status_code == 201
    async with till.client("192.0.2.4", "user") as client:
        problem(await client.post("/changes", json=move()), 429, "rate_limited")
    async with till.client("192.0.2.4", "user2") as client:
        assert (await client.post("/changes", json=move())).status_code == 201


async def test_an_unknown_caller_has_the_bucket_of_the_address(till: Till) -> None:
    async with till.client("192.0.2.1") as client:
        await used_up(client, "/guesses")
    async with till.client("192.0.2.2", "user") as client:
        await used_up(client, "/guesses")
    async with till.client("192.0.2.2", "user2") as client:  # a token does not make a new caller
        problem(await client.post("/guesses"), 429, "rate_limited")


async def test_a_site_of_version_6_shares_a_bucket(till: Till) -> None:
    for host in range(3):
        async with till.client(f"2001:db8:1:2::{host}") as client:
            assert (await client.post("/guesses")).status_code == 200
    async with till.client("2001:db8:1:2:ffff::1") as client:
        problem(await client.post("/guesses"), 429, "rate_limited")
    async with till.client("2001:db8:1:3::1") as client:
        assert (await client.post("/guesses")).status_code == 200


async def test_the_routes_of_a_policy_share_a_bucket(till: Till) -> None:
    async with till.client() as client:
        await used_up(client, "/guesses")
        problem(await client.post("/other-guesses"), 429, "rate_limited")
        for path in ("/looks/a", "/looks/b", "/looks"):
            assert (await client.get(path)).status_code == 200
        problem(await client.get("/looks/d"), 429, "rate_limited")


async def test_a_forwarded_address_counts_only_from_a_trusted_proxy() -> None:
    till = Till(options=GatewayOptions(trusted_proxies=(ip_network("10.0.0.0/8"),)))
    async with till.client("192.0.2.1") as client:  # a stranger who invents an address each time
        for number in range(3):
            forged = {"X-Forwarded-For": f"203.0.113.{number}"}
            assert (await client.get("/looks", headers=forged)).json() == "192.0.2.1"
        answer = await client.get("/looks", headers={"X-Forwarded-For": "203.0.113.99"})
        problem(answer, 429, "rate_limited")
    async with till.client("10.0.0.1") as proxy:
        for number in range(3):
            forged = {"X-Forwarded-For": f"203.0.113.{number}, 192.0.2.7"}
            assert (await proxy.get("/looks", headers=forged)).json() == "192.0.2.7"
        answer = await proxy.get("/looks", headers={"X-Forwarded-For": "192.0.2.7"})
        problem(answer, 429, "rate_limited")
        answer = await proxy.get("/looks", headers={"X-Forwarded-For": "192.0.2.8"})
        assert answer.json() == "192.0.2.8"


async def test_a_store_that_is_away_leaves_guesses_bounded_and_looks_free() -> None:
    till = Till(stores=dict.fromkeys(RouteClass, Away()))
    async with till.client(token="user") as client:
        await used_up(client, "/guesses")
        for _ in range(3):
            assert (await client.post("/changes", json=move())).status_code == 201
        problem(await client.post("/changes", json=move()), 429, "rate_limited")
        for _ in range(10):
            answer = await client.get("/looks")
            assert answer.status_code == 200
            assert not set(NAMES) & set(answer.headers)
    assert till.hits == {"strict": 1, "write": 1}


async def test_bad_tokens_are_bounded_and_those_that_have_worked_are_heard(till: Till) -> None:
    async with till.client(token="user") as client:
        assert (await client.post("/changes", json=move())).status_code == 201
    async with till.client(token="bad") as guesser:
        for _ in range(4):
            problem(await guesser.post("/changes"), 401, "unauthenticated")
        refused = await guesser.post("/changes")
        problem(refused, 429, "rate_limited")
        assert refused.headers["retry-after"] == "15"
        proofs = till.gates.proofs
        for token in ("bad", "user2", "", "x" * 5000):  # right or wrong, it is not looked at
            guesser.headers["Authorization"] = f"Bearer {token}"
            barred = await guesser.post("/changes", json=move())
            problem(barred, 429, "rate_limited")
            assert barred.headers["retry-after"] == "15"
        assert till.gates.proofs == proofs
    async with till.client(token="user") as client:
        assert (await client.post("/changes", json=move())).status_code == 201
    async with till.client("192.0.2.2", "user2") as elsewhere:
        assert (await elsewhere.post("/changes", json=move())).status_code == 201
    till.clock.advance(seconds=15)
    async with till.client(token="user3") as client:
        assert (await client.post("/changes", json=move())).status_code == 201
    assert till.hits == {"write": 5}


async def test_a_token_that_was_revoked_has_not_worked(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(auth, "monotonic", lambda: now[0])
    async with till.client(token="user") as client:
        assert (await client.post("/changes", json=move())).status_code == 201
        till.gates.revoked = True
        now[0] += 2 * auth.TRUST_SECONDS
        for _ in range(4):
            problem(await client.post("/changes"), 401, "unauthenticated")
        for _ in range(3):
            problem(await client.post("/changes"), 429, "rate_limited")
    assert till.gates.proofs == 6


async def test_a_clock_set_back_bars_nobody_for_long(till: Till) -> None:
    async with till.client(token="bad") as guesser:
        for _ in range(5):
            await guesser.post("/changes")
        till.clock.advance(hours=-1)
        async with till.client(token="user") as client:
            assert (await client.post("/changes", json=move())).status_code == 201


async def test_the_memory_of_barred_addresses_is_bounded(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_BARRED", 2)
    for number in range(5):
        async with till.client(f"192.0.2.{number}", "bad") as guesser:
            for _ in range(4):
                problem(await guesser.post("/changes"), 401, "unauthenticated")
            problem(await guesser.post("/changes"), 429, "rate_limited")


def test_operations_tell_their_policy(till: Till) -> None:
    paths = till.app.openapi()["paths"]
    assert paths["/guesses"]["post"]["x-rate-limit"] == {
        "policy": "guess", "quota": 3, "window_seconds": 60,
    }  # fmt: skip
    refusal = paths["/guesses"]["post"]["responses"]["429"]
    assert refusal == {"$ref": "#/components/responses/Problem429"}
    names = {name.lower() for name in paths["/looks"]["get"]["responses"]["200"]["headers"]}
    assert set(NAMES) <= names
    headers = till.app.openapi()["components"]["responses"]["Problem429"]["headers"]
    assert {*NAMES, "retry-after"} <= {name.lower() for name in headers}
