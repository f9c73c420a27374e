"""``guilder admin``: who is an administrator, and who has lost every factor."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from guilder.bootstrap import Bank, open_bank
from guilder.core.actor import SYSTEM, Actor
from guilder.domains.identity.commands.users import CreateUser, create_user
from guilder.domains.identity.queries import get_factors, user_by_email
from guilder.domains.identity.rules.users import User
from guilder.infra.process.settings import Settings
from tests.cli.test_cli_commands import elsewhere, guilder, log_as_before
from tests.db import owner
from tests.domains.identity.codes import code_at
from tests.support.constants import EMAIL

__all__ = ["elsewhere", "log_as_before"]


@pytest.fixture
def database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("GUILDER_DATABASE_URL", database_url)
    in_bank(lambda bank: bank.runner.run(create_user, CreateUser(EMAIL, "hash"), SYSTEM))
    return database_url


def in_bank[T](work: Callable[[Bank], Awaitable[T]]) -> T:
    async def run() -> T:
        async with open_bank(Settings()) as bank:
            return await work(bank)

    return asyncio.run(run())


async def with_app(bank: Bank, who: Actor) -> None:
    app = await bank.authentication.factors.enrol(who)
    await bank.authentication.factors.confirm(code_at(app.secret, bank.clock), who)


def user() -> User:
    found = in_bank(lambda bank: bank.runner.view(user_by_email, EMAIL))
    assert found is not None
    return found


def test_a_login_is_promoted_to_administrator(database: str) -> None:
    assert user().role.value == "user"
    said = guilder("admin", "promote", EMAIL.upper()).stdout
    assert said == f"{EMAIL} is an administrator.\n"
    assert user().role.value == "admin"
    assert guilder("admin", "promote", EMAIL).stdout == said
    [(actor,)] = asyncio.run(
        owner.rows(
            database,
            "SELECT DISTINCT actor FROM audit_events WHERE action = 'user.change_access'",
        )
    )
    assert actor == "system"


def test_factors_are_removed_on_the_command_line(database: str) -> None:
    who = Actor(user().id, None)
    in_bank(lambda bank: with_app(bank, who))
    assert in_bank(lambda bank: bank.runner.view(get_factors, who)).totp is not None
    said = guilder("admin", "remove-factors", EMAIL).stdout
    assert said == f"{EMAIL} signs in with the password alone.\n"
    left = in_bank(lambda bank: bank.runner.view(get_factors, who))
    assert (left.totp, left.recovery_codes_left) == (None, 0)


@pytest.mark.parametrize("command", ["promote", "remove-factors"])
def test_nobody_by_that_address(database: str, command: str) -> None:
    said = guilder("admin", command, "nobody@example.test", status=1).stderr
    assert said == "guilder: There is no such user.\n"
