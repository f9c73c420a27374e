"""``guilder audit``: what becomes of the oldest part of the audit trail."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from guilder.archiving import Archived, TrailArchiver
from guilder.bootstrap import audit_signer, check_stored_keys, open_keys
from guilder.cli.troubles import reported_errors, say
from guilder.core.clock import DAY_US, SystemClock, from_datetime, iso_instant
from guilder.db.engine import Database
from guilder.db.run import Runner
from guilder.infra.process.database_wait import reach_database
from guilder.infra.process.logging import configure_logging
from guilder.infra.process.settings import Settings, load_settings

YEAR_US: Final = 366 * DAY_US
"""The longest that there is: nothing is archived a day too early."""

app = typer.Typer(help="The audit trail.", no_args_is_help=True)


@app.command()
def archive(
    file: Annotated[Path, typer.Argument(help="A new file: JSON lines, compressed by gzip.")],
    before: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"], help="Only rows of before this day (UTC), if that is earlier."
        ),
    ] = None,
) -> None:
    """Move what is older than GUILDER_AUDIT_YEARS from the database into a file.

    The file is checked before anything is removed; the trail keeps its anchor. Needs the rights of
    the tables' owner.
    """
    with reported_errors():
        settings = load_settings()
        configure_logging("warning", as_json=settings.logs_json)
        latest = SystemClock().now_us() - settings.audit_years * YEAR_US
        wanted = latest if before is None else from_datetime(before.replace(tzinfo=UTC))
        done = asyncio.run(_archive(settings, file, min(wanted, latest)))
        if done is None:
            say(f"Nothing is older than {iso_instant(min(wanted, latest))}.")
            return
        say(f"Rows {done.first} to {done.last} of the audit trail are in {file} now.")
        say(f"SHA-256: {done.sha256}")
        say(f"Audit anchor: {done.last}:{done.chain}")
        if done.has_more:
            say("There is more that is as old: run it again, with another file.")


async def _archive(settings: Settings, file: Path, before_us: int) -> Archived | None:
    clock = SystemClock()
    await reach_database(settings.database, settings.database_wait_seconds)
    keys = open_keys(settings, clock)
    await check_stored_keys(settings, keys)
    signer = audit_signer(settings, keys)
    database = Database(settings.database, as_owner=True)
    try:
        runner = Runner(database, clock, signer=signer)
        return await TrailArchiver(runner, signer).archive(file, before_us, lambda *_: None)
    finally:
        await database.close()
