"""Between routes and what they use mypy sees every type: a slip is red before any test runs."""

import subprocess
import sys
from pathlib import Path

from tests.house.source import ROOT

PLANTED = """
from guilder.api.deps import TheRunner
from guilder.api.exchange import Exchange
from guilder.api.idempotency import Once
from guilder.api.pagination import page_body
from guilder.core.actor import Actor
from guilder.core.page import PageRequest
from guilder.domains.accounts import queries
from guilder.domains.accounts.commands import OpenAccount, open_account
from guilder.domains.accounts.services import AccountDirectory
from guilder.domains.accounts.schemas import account_body, product_body
from guilder.domains.ledger.poster import Poster


async def route(actor: Actor, runner: TheRunner, once: Once, exchange: Exchange) -> None:
    command = OpenAccount("checking", "EUR")
    found = await runner.view(queries.list_accounts, actor, PageRequest(10))  # sound
    page_body(found, account_body)  # sound
    await runner.veiw(queries.list_accounts, actor, PageRequest(10))  # attr-defined
    await runner.view(queries.list_acounts, actor, PageRequest(10))  # attr-defined
    await runner.view(queries.list_accounts, actor)  # call-arg
    await runner.view(queries.list_accounts, PageRequest(10), actor)  # arg-type
    page_body(found, product_body)  # arg-type
    await once.run(open_account, command, actor, product_body)  # misc
    await runner.run(open_account, actor, actor)  # arg-type, type-var
    exchange.parts[AccountDirectory].resolv(())  # attr-defined
    exchange.parts[Poster].submit(command)  # arg-type
"""


def test_a_slip_between_a_route_and_what_it_uses_is_a_type_error(tmp_path: Path) -> None:
    file = tmp_path / "planted.py"
    file.write_text(PLANTED, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--no-error-summary",
        "--hide-error-context",
        str(file),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    said = done.stdout.splitlines()
    for number, line in enumerate(PLANTED.splitlines(), 1):
        wanted = line.rpartition("  # ")[2].split(", ") if "  # " in line else ["sound"]
        told = [one for one in said if f"/{file.name}:{number}: error:" in one]
        if wanted == ["sound"]:
            assert told == [], done.stdout
        else:
            assert any(f"[{code}]" in one for one in told for code in wanted), (line, done.stdout)
