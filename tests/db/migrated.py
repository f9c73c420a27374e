"""Run in a copy of the project: its newest migration works on a database and equals its models."""

import asyncio
import sys

from alembic.script import ScriptDirectory

from guilder.db.base import is_append_only
from guilder.db.migrate import config, downgrade, upgrade
from guilder.tables import metadata
from tests.db.schema import catalogue, differences, in_owner, refused, unprotected


async def check(url: str) -> None:
    """Up, down and up again on an empty database; the models' own tables are the same."""
    await in_owner(url, metadata.create_all)
    from_models = await catalogue(url)
    await in_owner(url, metadata.drop_all)
    newest, before, *_ = ScriptDirectory.from_config(config()).walk_revisions()
    assert newest.down_revision == before.revision
    await upgrade(url, before.revision)
    old = await catalogue(url), await refused(url)
    for _ in range(2):
        assert await upgrade(url) is True
        assert await in_owner(url, differences) == []
        assert await catalogue(url) == from_models
        marked = {table.name for table in metadata.tables.values() if is_append_only(table)}
        assert unprotected(url, marked, await refused(url)) == set()
        await downgrade(url, before.revision)
        assert (await catalogue(url), await refused(url)) == old


if __name__ == "__main__":
    asyncio.run(check(sys.argv[1]))
