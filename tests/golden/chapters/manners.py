"""The plumbing's refusals for every operation of the reference, one by one."""

import json
from pathlib import Path
from typing import Any, Final

from tests.golden.walk import NOBODYS, Person, Walk

REFERENCE: Final[dict[str, Any]] = json.loads(
    (Path(__file__).resolve().parents[3] / "openapi.json").read_text("utf-8")
)
OPERATIONS: Final = [
    (method.upper(), path, operation)
    for path, operations in REFERENCE["paths"].items()
    for method, operation in operations.items()
]
JSON: Final = {"Content-Type": "application/json"}


async def manners(walk: Walk) -> None:
    ada = walk.people["ada"]
    for number, (method, template, operation) in enumerate(OPERATIONS):
        path = template.replace("{", "\0").split("\0")
        line = f"{method} {path[0]}" + "".join(
            NOBODYS + part.partition("}")[2] for part in path[1:]
        )
        if operation["security"]:
            await strangers(walk, line)
        if number % 20 == 0:
            await walk.sign_in(ada)
        who = ada if operation["security"] else None
        await walk.ask(f"{line}?x=1", who)
        if "requestBody" in operation:
            await bodies(walk, line, who)
        if method == "GET":
            varies = template in {"/health", "/metrics"}
            await walk.ask("HEAD" + line[3:], who, shows="status" if varies else "all")


async def strangers(walk: Walk, line: str) -> None:
    await walk.ask(line)
    await walk.ask(line, headers={"Authorization": "Bearer eyJ9"})


async def bodies(walk: Walk, line: str, who: Person | None) -> None:
    for raw in (b"", b"{", b"[]", b'{"nonsense":1}'):
        await walk.ask(line, who, raw=raw, headers=JSON)
    await walk.ask(line, who, raw=b"{}", headers={"Content-Type": "text/plain"})
    await walk.ask(line, who, raw=b"{}", headers=JSON | {"Content-Length": "99999999"})


async def roles(walk: Walk) -> None:
    """What each role may not do: every operation, asked with a query that none of them knows."""
    for name in ("ron", "ben"):
        who = walk.people[name]
        await walk.sign_in(who)
        for method, path, operation in OPERATIONS:
            if operation["security"]:
                line = f"{method} {path}".replace("{", "").replace("}", "")
                await walk.ask(f"{line}?x=1", who, shows="status")
    await refusals(walk)


async def refusals(walk: Walk) -> None:
    ron = walk.people["ron"]
    for line in (
        "POST accounts", "POST transfers", "POST transfers/batches", "POST simulations/deposits",
        "PUT simulations/clock", "PATCH users/me", "GET admin/users", "GET admin/audit-events",
        "POST admin/security/rotations",
    ):  # fmt: skip
        await walk.ask(line, ron, {})
    for path in sorted({path for _, path, _ in OPERATIONS}):
        await walk.ask(f"TRACE {path.replace('{', '').replace('}', '')}")
        await walk.ask(f"OPTIONS {path.replace('{', '').replace('}', '')}", shows="status")
    twice = {"Authorization": f"Bearer {ron.token}", "authorization": "Bearer b"}
    await walk.ask("GET users/me", headers=twice, note="two tokens")
