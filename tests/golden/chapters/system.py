"""What the bank says of itself, its pages, and what is not there."""

from tests.golden.walk import Walk

DIGESTS = (
    "/docs", "/redoc", "/docs/assets/start.js", "/docs/assets/favicon.png",
    "/docs/assets/redoc.standalone.js", "/docs/assets/swagger-ui-bundle.js",
    "/docs/assets/swagger-ui.css", "/verify-email", "/reset-password", "/remove-factors",
    "/confirm-email", "/undo-email", "/pages/letters.css", "/pages/letters.js",
)  # fmt: skip


async def system(walk: Walk) -> None:
    for path in ("/", "/health", "/health/live", "/health/ready"):
        await walk.ask(f"GET {path}")
        await walk.ask(f"GET {path}?x=1")
        await walk.ask(f"HEAD {path}", shows="status")
        await walk.ask(f"POST {path}")
    await walk.ask("GET /health/live/", note="trailing slash")
    await walk.ask("GET /metrics", shows="status")
    await walk.ask("GET /metrics?x=1")
    await walk.ask("GET /openapi.json", shows="status")
    for path in DIGESTS:
        await walk.ask(f"GET {path}", shows="digest")
        await walk.ask(f"POST {path}")
    await walk.ask("HEAD /verify-email")
    await walk.ask("HEAD /docs")
    for path in ("/nothing", "/api/v1", "/api/v1/nothing", "/docs/assets/nothing.js", "/a%00b"):
        await walk.ask(f"GET {path}")
        await walk.ask(f"DELETE {path}")
    page = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "POST"}
    await walk.ask("OPTIONS accounts", headers=page, note="no page may call here")
