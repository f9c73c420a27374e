"""The role that the application steps down to on PostgreSQL is its database's, not the server's."""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest

from guilder.db.application_role import APPLICATION_ROLE
from guilder.db.migrate import upgrade
from tests.db import owner
from tests.db.house import TELLER, House, Note, write_note
from tests.support import postgres

NOBODYS = "guilder_app"
"""What all banks of a server once shared."""


@pytest.fixture
def url(postgres_server: postgres.Server) -> Iterator[str]:
    """An empty database."""
    url = postgres_server.clone("template0")
    yield url
    postgres_server.drop(url)


@pytest.fixture
def other(postgres_server: postgres.Server) -> Iterator[str]:
    """Another one on the same server."""
    url = postgres_server.clone("template0")
    yield url
    postgres_server.drop(url)


@pytest.fixture
async def shared_role(postgres_url: str) -> AsyncIterator[None]:
    """A role by the old name, as another bank on the server has made it."""
    await owner.execute(postgres_url, f"CREATE ROLE {NOBODYS} NOLOGIN")
    yield
    await owner.execute(postgres_url, f"DROP OWNED BY {NOBODYS}", f"DROP ROLE {NOBODYS}")


async def of_user(url: str, attributes: str = "") -> str:
    """The address for a new user, who owns the database."""
    user = f"u_{uuid4().hex[:8]}"
    await owner.execute(
        url,
        f"CREATE ROLE {user} LOGIN {attributes}",
        f"ALTER DATABASE {postgres.name_of(url)} OWNER TO {user}",
    )
    return url.replace("//postgres:", f"//{user}:")


async def roles_of(url: str) -> list[str]:
    return [role for (role,) in await owner.rows(url, APPLICATION_ROLE)]


async def works(url: str) -> str:
    """A command is run; gives the role it ran as."""
    house = House(url)
    await house.runner.run(write_note, Note("a note"), TELLER)
    async with house.database.begin() as connection:
        role: str = (await connection.exec_driver_sql("SELECT current_user")).scalar_one()
    await house.database.close()
    return role


async def test_two_banks_on_a_server_have_roles_of_their_own(url: str, other: str) -> None:
    for one in (url, other):
        await upgrade(one)
    mine, theirs = await works(url), await works(other)
    assert mine != theirs
    (allowed,) = await owner.rows(
        url, f"SELECT has_table_privilege('{theirs}', 'outbox', 'SELECT')"
    )
    assert allowed == (False,)


@pytest.mark.usefixtures("shared_role")
async def test_a_role_that_others_made_is_not_taken_on(url: str) -> None:
    """Its database has granted it nothing: each statement would be refused."""
    plain = await of_user(url)
    await upgrade(plain)
    assert await roles_of(plain) == []
    assert await works(url) == "postgres"  # who may take on every role
    assert (await works(plain)).startswith("u_")


@pytest.mark.usefixtures("shared_role")
async def test_a_bank_migrates_where_a_role_is_not_its_users_to_grant(url: str) -> None:
    number = "(SELECT oid FROM pg_database WHERE datname = current_database())"
    ((oid,),) = await owner.rows(url, f"SELECT {number}::bigint")
    await owner.execute(url, f"CREATE ROLE {NOBODYS}_{oid} NOLOGIN")
    plain = await of_user(url, "CREATEROLE")
    await upgrade(plain)
    assert await roles_of(plain) == []
    assert (await works(plain)).startswith("u_")


async def test_a_member_needs_no_admin_option(url: str) -> None:
    ((oid,),) = await owner.rows(
        url, "SELECT oid::bigint FROM pg_database WHERE datname = current_database()"
    )
    plain = await of_user(url)
    user = plain.partition("//")[2].partition(":")[0]
    role = f"{NOBODYS}_{oid}"
    await owner.execute(url, f"CREATE ROLE {role} NOLOGIN", f"GRANT {role} TO {user}")
    await upgrade(plain)
    assert await works(plain) == role


@pytest.mark.usefixtures("shared_role")
async def test_a_bank_whose_role_is_the_shared_one_goes_on_stepping_down_to_it(url: str) -> None:
    await upgrade(url)
    (role,) = await roles_of(url)
    await owner.execute(
        url,
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {NOBODYS}",
        f"DROP OWNED BY {role}",
    )
    assert await works(url) == NOBODYS
    await owner.execute(url, f"DROP OWNED BY {NOBODYS}")
