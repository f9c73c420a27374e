"""``guilder admin``: who is an administrator, and help for who has lost every second factor."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import typer

from guilder.bootstrap import open_bank
from guilder.cli.troubles import reported_errors, say
from guilder.core.actor import SYSTEM
from guilder.core.permissions import Role
from guilder.db.unit_of_work import UnitOfWork
from guilder.domains.identity.commands.factors import RemoveFactors, remove_factors
from guilder.domains.identity.commands.users import ChangeAccess, change_access
from guilder.domains.identity.errors import UserNotFound
from guilder.domains.identity.queries import user_by_email
from guilder.domains.identity.rules.users import User
from guilder.infra.process.logging import configure_logging
from guilder.infra.process.settings import load_settings

app = typer.Typer(help="Administrators and their second factors.", no_args_is_help=True)

LoginAddress = Annotated[str, typer.Argument(help="E-mail address of the login.")]


@app.command()
def promote(email: LoginAddress) -> None:
    """Make a login an administrator, and switch it on."""
    user = _run(email, lambda one: (change_access, ChangeAccess(one.id, Role.ADMIN, True)))
    say(f"{user.email} is an administrator.")


@app.command("remove-factors")
def take_factors(email: LoginAddress) -> None:
    """Take the authenticator app, recovery codes and passkeys away, and end all sessions."""
    user = _run(email, lambda one: (remove_factors, RemoveFactors(one.id)))
    say(f"{user.email} signs in with the password alone.")


def _run(
    email: str,
    work: Callable[[User], tuple[Callable[[UnitOfWork, Any], Awaitable[User]], Any]],
) -> User:
    """Do it to the user with that address, in the name of the bank."""
    with reported_errors():
        settings = load_settings()
        configure_logging("warning", as_json=settings.logs_json)

        async def run() -> User:
            async with open_bank(settings) as bank:
                found = await bank.runner.view(user_by_email, email)
                if found is None:
                    raise UserNotFound()
                handler, command = work(found)
                return await bank.runner.run(handler, command, SYSTEM)

        return asyncio.run(run())
