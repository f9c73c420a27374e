"""The same bank in production: rate limits, pages from elsewhere, no simulators, no letters."""

from dataclasses import replace

from guilder.main import create_app, stop_accepting
from tests.golden.walk import PASSWORD, Person, Walk, settings_of

PAGE = "https://app.example.com"


async def production(walk: Walk) -> None:
    url = walk.office.settings.database
    settings = settings_of(
        url, walk.folder.parent, env="production", rate_limits=True, cors_origins=PAGE,
        require_email_verification=False,
    )  # fmt: skip
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        there = replace(walk, app=app)
        await coming_in(there)
        await pages(there)
        await limits(there)
        stop_accepting(app)
        await there.ask("GET /health/ready", note="stopping")


async def coming_in(walk: Walk) -> None:
    new = {"email": "zoe@example.test", "password": PASSWORD, "full_name": "Zoe"}
    made = await walk.made("POST auth/signup", None, new)
    zoe = walk.people["zoe"] = Person("zoe", token=made["access_token"])
    await walk.ask("POST auth/signup", None, new)
    await walk.ask("POST auth/signup", None, new | {"email": "x@example.test", "password": "x"})
    await walk.ask("GET users/me", zoe)
    await walk.ask("POST accounts", zoe, {"type": "savings", "currency": "EUR"})
    for line in (
        "GET /metrics", "GET /health/live", "GET simulations/clock", "PUT simulations/clock",
        "POST simulations/deposits", "GET /docs", "GET /nothing",
    ):  # fmt: skip
        await walk.ask(line, zoe, shows="digest" if "docs" in line else "all")
    body = {"account_id": "x", "amount": 1, "currency": "EUR"}
    await walk.ask("POST simulations/deposits", zoe, body)
    await walk.ask("PUT simulations/clock", zoe, {"advance_seconds": 1})


async def pages(walk: Walk) -> None:
    zoe = walk.people["zoe"]
    asks = {"Access-Control-Request-Method": "POST"}
    for origin in (PAGE, "https://evil.example"):
        for line in ("OPTIONS accounts", "OPTIONS /nothing"):
            await walk.ask(line, headers={"Origin": origin} | asks)
        await walk.ask("OPTIONS accounts", headers={"Origin": origin})
        await walk.ask("GET users/me", zoe, headers={"Origin": origin})
        await walk.ask("GET users/me", headers={"Origin": origin})
        await walk.ask("GET /nothing", headers={"Origin": origin})


async def limits(walk: Walk) -> None:
    zoe = walk.people["zoe"]
    for _ in range(2):
        await walk.ask("GET accounts", zoe)
        await walk.ask("POST transfers/batches", zoe, {})
        await walk.ask("POST tokens", None, {})
        await walk.ask("POST sessions", None, {})
        await walk.ask("POST users", None, {})
        await walk.ask("POST password-resets", None, {})
    walk.clock.advance(minutes=-2)
    for _ in range(90):
        await walk.ask("POST email-verifications", None, {}, shows="status")
    await walk.ask("POST email-verifications", None, {}, note="too many")
    await walk.ask("POST password-resets", None, {}, note="the same bucket")
