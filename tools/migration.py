"""Writes a migration: what the models say and the newest migration does not. `make migration`.

It looks at a SQLite file of its own, migrated from the start, so nobody needs a database.
"""

import asyncio
import re
import subprocess
import sys
from argparse import Namespace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from alembic import command
from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import CreateTableOp, MigrateOperation, MigrationScript
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import BigInteger, Connection, SmallInteger, text
from sqlalchemy.exc import SQLAlchemyError

from guilder.core.clock import SystemClock, to_datetime
from guilder.db.base import Flagged, Guid, is_append_only
from guilder.db.migrate import config, downgrade, known_revisions, migration_engine, upgrade
from guilder.tables import metadata

ROOT: Final = Path(__file__).resolve().parents[1]
LONGEST_REVISION: Final = 32
"""Characters that Alembic keeps of a revision."""

TYPES: Final = {BigInteger: "Big", SmallInteger: "Small", Guid: "Guid", Flagged: "Flagged"}
"""Types that migrations take from ``guilder.db.base``."""


class Refused(Exception):
    """Nothing was written, and why."""


class Protection(MigrateOperation):
    """Give a table the triggers of ``guilder.db.append_only``, or take them away."""

    def __init__(self, table: str, call: str) -> None:
        self.table = table
        self.call = call

    def reverse(self) -> "Protection":
        return Protection(self.table, "unprotect" if self.call == "protect" else "protect")


@renderers.dispatch_for(Protection)
def _render_protection(context: AutogenContext, operation: Protection) -> str:
    context.imports.add(f"from guilder.db.append_only import {operation.call}")
    return f"{operation.call}({operation.table!r})"


def render_item(kind: str, thing: object, context: AutogenContext) -> str | bool:
    """Render our column types by their names; False leaves the rest to Alembic."""
    name = TYPES.get(type(thing)) if kind == "type" else None
    if name is None:
        return False
    context.imports.add(f"from guilder.db.base import {name}")
    return name


def check_name(name: str) -> None:
    """Refuse what cannot stand in a file's name and in a revision, and what is taken."""
    longest = LONGEST_REVISION - len("20260101_")
    if not name:
        raise Refused("Say what the migration does: make migration NAME=add_cards")
    if len(name) > longest or not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise Refused(
            f"{name!r} is no name: small letters, digits and single underscores, "
            f"{longest} characters at most, as in add_cards"
        )
    for script in ScriptDirectory.from_config(config()).walk_revisions():
        if script.revision.partition("_")[2] == name:
            raise Refused(f"There is a migration of that name: {script.revision}")


async def write(name: str, day: date) -> Path:
    """Write the migration, try it on SQLite, and tell where it lies; raises ``Refused``."""
    check_name(name)
    with TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/guilder.db"
        await upgrade(url)
        engine = migration_engine(url)
        async with engine.begin() as connection:
            script = await connection.run_sync(_revision, name, day)
        await engine.dispose()
        path = Path(script.path)
        _tidy(path)
        known_revisions.cache_clear()
        try:
            await upgrade(url)
            await downgrade(url, str(script.down_revision))
        except (SQLAlchemyError, CommandError, NotImplementedError) as error:
            raise Refused(
                f"{path} is written, but SQLite refuses it as it stands: {error}"
            ) from error
    return path


def _revision(connection: Connection, name: str, day: date) -> Script:
    made = config()
    made.cmd_opts = Namespace(quiet=True)
    made.attributes.update(connection=connection, render_item=render_item)
    made.set_main_option("file_template", f"{day:%Y_%m_%d}_%%(slug)s")
    script = command.revision(
        made,
        message=f"{name.replace('_', ' ').capitalize()}.",
        autogenerate=True,
        rev_id=f"{day:%Y%m%d}_{name}",
        process_revision_directives=_complete,
    )
    if not isinstance(script, Script):
        raise Refused(
            "The migrations say all that the models say: there is nothing to write.\n"
            "(Unseen are CHECKs, defaults and conditions of indexes that changed.)"
        )
    return script


def _complete(context: MigrationContext, _revision: Any, directives: list[MigrationScript]) -> None:
    """Add the triggers; without anything to do, leave nothing to write."""
    (script,) = directives
    up, down = script.upgrade_ops, script.downgrade_ops
    assert up is not None
    assert down is not None
    assert context.connection is not None
    final = "SELECT tbl_name FROM sqlite_master WHERE type = 'trigger' AND sql LIKE '%is final%'"
    protected = set(context.connection.scalars(text(final)))
    marked = {table.name for table in metadata.tables.values() if is_append_only(table)}
    up.ops[:0] = [Protection(table, "unprotect") for table in sorted(protected - marked)]
    up.ops += [Protection(table, "protect") for table in sorted(marked - protected)]
    up.reverse_into(down)
    for operation in (*up.ops, *down.ops):
        if isinstance(operation, CreateTableOp):
            operation.info = {}
    if up.is_empty():
        directives.clear()


def _tidy(path: Path) -> None:
    """Without Alembic's remarks, and as far as a machine can as ``make lint`` wants it."""
    path.write_text(re.sub(r" *# ### .*\n", "", path.read_text()))
    ruff = [sys.executable, "-m", "ruff"]
    subprocess.run([*ruff, "check", "--fix", "--exit-zero", "--quiet", path], cwd=ROOT, check=True)
    subprocess.run([*ruff, "format", "--quiet", path], cwd=ROOT, check=True)


def main(name: str) -> None:
    """Write the migration or say why not."""
    try:
        path = asyncio.run(write(name, to_datetime(SystemClock().now_us()).date()))
    except Refused as refused:
        sys.exit(str(refused))
    print(f"Wrote {path.relative_to(ROOT)}: read it, then `make test`.")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
