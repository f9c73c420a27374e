"""The command line.

Exit status: 0 all well; 1 what was asked for does not hold or was refused; 2 the command line or
the settings are wrong; 3 the surroundings do not allow it (port taken, database away or newer).
"""

import asyncio
import json
import logging
import os
import re
import signal
import socket
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from getpass import GetPassWarning
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from guilder import __version__
from guilder.bootstrap import (
    audit_signer,
    check_stored_keys,
    check_writing,
    migrate_bank,
    open_bank,
    open_keys,
)
from guilder.cli import admin, audit, keys, shell
from guilder.cli.troubles import REFUSED, USAGE_ERROR, reported_errors, say
from guilder.core.actor import SYSTEM
from guilder.core.clock import SystemClock
from guilder.core.permissions import Role
from guilder.db.migrate import downgrade, upgrade
from guilder.domains.identity.commands.users import CreateUser, create_user
from guilder.domains.identity.rules.users import User
from guilder.domains.identity.schemas.logins import Email
from guilder.infra.process.database_wait import reach_database
from guilder.infra.process.described import describe_settings
from guilder.infra.process.listening import endpoint_of
from guilder.infra.process.logging import configure_logging
from guilder.infra.process.memory import share_one_heap
from guilder.infra.process.production import address_warnings, production_warnings
from guilder.infra.process.reloader import Reloader
from guilder.infra.process.server import STOP_SECONDS, Server, bind, force_exit_after
from guilder.infra.process.settings import (
    InvalidSettings,
    Settings,
    load_settings,
)
from guilder.infra.process.supervisor import Supervisor, metrics_folder
from guilder.infra.process.telemetry import MULTIPROCESS_FOLDER, reserve_room
from guilder.infra.process.tracing import open_tracing
from guilder.main import connection_bounds, create_app, create_metrics_app, stop_accepting
from guilder.seed.bulk import seed_bulk
from guilder.seed.demo import seed_demo
from guilder.seed.people import PASSWORD, PEOPLE
from guilder.verification import Anchor, Verification, verify_database
from guilder.worker import jobs_running

app = typer.Typer(
    help="Guilder, a bank in a box.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # it shows local variables, and with them secrets
)
app.add_typer(audit.app, name="audit")
app.add_typer(keys.app, name="keys")
app.add_typer(admin.app, name="admin")
_log = logging.getLogger("guilder")

Host = Annotated[str | None, typer.Option(help="Address to listen on. [GUILDER_HOST]")]
Port = Annotated[int | None, typer.Option(help="Port to listen on. [GUILDER_PORT]")]
Workers = Annotated[int | None, typer.Option(help="Processes to serve with. [GUILDER_WORKERS]")]
Reload = Annotated[
    bool, typer.Option("--reload", help="For development: start anew when the code changes.")
]
New = Annotated[
    bool, typer.Option("--new", help="Start an empty bank where one was before and is gone.")
]
NoJobs = Annotated[bool, typer.Option("--no-jobs", help="Leave the periodic jobs to others.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
AnchorOption = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER:HASH",
        help="As an earlier report gave it: history up to there must be the same.",
    ),
]
ArchiveOption = Annotated[
    list[Path] | None,
    typer.Option(help="A file of `guilder audit archive` to check as well; as often as need be."),
]


@app.command()
def serve(
    host: Host = None,
    port: Port = None,
    workers: Workers = None,
    no_jobs: NoJobs = False,
    reload: Reload = False,
    new: New = False,
) -> None:
    """Migrate the database and serve."""
    with reported_errors():
        settings = load_settings(host=host, port=port, workers=workers)
        _refuse_to_reload(settings, wanted=reload)
        listening = _prepare(settings, new=new)
    _serve(settings, listening, jobs=not no_jobs, reload=reload)


@app.command()
def demo(
    host: Host = None,
    port: Port = None,
    workers: Workers = None,
    reload: Reload = False,
    new: New = False,
) -> None:
    """Serve with the demo bank; make it first where there is none."""
    with reported_errors():
        settings = load_settings(host=host, port=port, workers=workers)
        _refuse_in_production(settings)
        _refuse_to_reload(settings, wanted=reload)
        listening = _prepare(settings, new=new)
        asyncio.run(_seed_demo(settings))
        say("Logins of the demo bank:")
        for person in PEOPLE:
            say(f"  {person.email}  {PASSWORD}")
        say(f"Bank: {settings.address}   API reference: {settings.address}/docs")
    _serve(settings, listening, jobs=True, reload=reload)


@app.command(hidden=True)
def serve_worker(
    listening: int,
    control: int,
    workers: Workers = None,
    no_jobs: NoJobs = False,
    metrics: Annotated[int | None, typer.Option()] = None,
) -> None:
    """One of several processes: serve on an inherited socket. Started by `serve`."""
    with reported_errors():
        settings = load_settings(workers=workers)
        configure_logging(settings.log_level, as_json=settings.logs_json)
        _leave_metrics_if_full()
        with socket.socket(fileno=control) as supervisor:
            supervisor.setblocking(False)
            sock = socket.socket(fileno=listening)
            aside = None if metrics is None else socket.socket(fileno=metrics)
            given = Listening([sock], aside)
            _serve_here(settings, given, jobs=not no_jobs, control=supervisor)


@app.command()
def worker() -> None:
    """Run the periodic jobs alone, for servers that are started with --no-jobs."""
    with reported_errors():
        settings = load_settings()
        configure_logging(settings.log_level, as_json=settings.logs_json)
        asyncio.run(_work(settings))


@app.command()
def migrate(new: New = False) -> None:
    """Bring the database to the newest schema."""
    with reported_errors():
        settings = load_settings()
        _log_quietly(settings)
        changed = asyncio.run(migrate_bank(settings, new=new))
        say("The database has been migrated." if changed else "Nothing to do.")


@app.command()
def seed(
    reset: Annotated[bool, typer.Option("--reset", help="Delete all data first.")] = False,
    users: Annotated[int, typer.Option(min=0, help="Make so many users.")] = 0,
    transfers: Annotated[int, typer.Option(min=0, help="Book so many transfers.")] = 0,
) -> None:
    """Fill the database: with the demo bank, or with many users and transfers."""
    with reported_errors():
        settings = load_settings()
        _refuse_in_production(settings)
        if transfers and users < 2:
            raise typer.BadParameter("transfers need at least two users")
        _log_quietly(settings)
        if reset:
            asyncio.run(_reset(settings))
        asyncio.run(_seed_bulk(settings, users, transfers) if users else _seed_demo(settings))


@app.command()
def verify(
    as_json: AsJson = False,
    anchor: AnchorOption = None,
    audit_anchor: AnchorOption = None,
    archive: ArchiveOption = None,
) -> None:
    """Check the books, the audit trail, both chains and every reference.

    Exit 1 with the first bad row; 2 where a key is missing and nothing else is wrong. Attempts that
    have had no outcome for a minute are told and break nothing: their process was killed, and
    nothing of what it did was kept.
    """
    with reported_errors():
        settings = load_settings()
        _log_quietly(settings)
        anchors = _anchor_of(anchor, "--anchor"), _anchor_of(audit_anchor, "--audit-anchor")
        with _progress() as bar:
            found = asyncio.run(_verify(settings, anchors, bar, archive or ()))
        say(json.dumps(found.document()) if as_json else "\n".join(found.lines()))
    if found.needs_key:
        raise typer.Exit(USAGE_ERROR)
    raise typer.Exit(REFUSED if found.broken else 0)


@app.command()
def create_admin(
    email: Annotated[str | None, typer.Option(help="E-mail address; asked for if need be.")] = None,
    password: Annotated[
        str | None,
        typer.Option(help="Password; better asked for, since others see a command line."),
    ] = None,
) -> None:
    """Make an administrator. What is not given is asked for, or read from standard input."""
    with reported_errors():
        settings = load_settings()
        _log_quietly(settings)
        try:
            address = TypeAdapter(Email).validate_python(email or _asked("Email"))
        except ValidationError:
            raise typer.BadParameter("not an e-mail address", param_hint="--email") from None
        user = asyncio.run(_create_admin(settings, address, password or _asked("Password")))
        say(f"{user.email} is an administrator.")


@app.command()
def openapi() -> None:
    """Print the OpenAPI document; the same code prints the same text."""
    with reported_errors():
        document = create_app(load_settings(env="sandbox")).openapi()
        say(json.dumps(document, indent=2, ensure_ascii=False))


@app.command("settings")
def show_settings(as_json: AsJson = False) -> None:
    """Show every setting and where it comes from; secrets are masked."""
    with reported_errors():
        rows = describe_settings(load_settings())
        if as_json:
            say(json.dumps(rows, indent=2))
            return
        for row in rows:
            say(f"{row['name']}={row['value']}  ({row['source']})")


@app.command("shell")
def open_shell() -> None:
    """Open a bank at a Python prompt, or for a script on standard input."""
    with reported_errors():
        settings = load_settings()
        _log_quietly(settings)
        status = shell.converse(settings)
    raise typer.Exit(status)


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Guilder, a bank in a box."""
    if show:
        with reported_errors():
            say(__version__)
        raise typer.Exit()


def _asked(what: str) -> str:
    """Ask a person, for a password twice; without a terminal the next lines of standard input."""
    secret, at_terminal = what == "Password", sys.stdin.isatty()
    try:
        with warnings.catch_warnings(action="ignore", category=GetPassWarning):
            answer: str = typer.prompt(what, hide_input=secret, confirmation_prompt=secret)
    except typer.Abort:
        if at_terminal:
            raise
        raise InvalidSettings(
            f"--{what.lower()} is missing, and there is no terminal to ask for it: "
            "give it, or a line of standard input (a password twice)"
        ) from None
    return answer


def _refuse_in_production(settings: Settings) -> None:
    if not settings.sandbox:
        raise InvalidSettings("there is no demo data in production (GUILDER_ENV)")


def _refuse_to_reload(settings: Settings, *, wanted: bool) -> None:
    if wanted and settings.env == "production":
        raise InvalidSettings("--reload is for development, not for production (GUILDER_ENV)")
    if wanted and settings.workers > 1:
        raise InvalidSettings("--reload serves with one process (GUILDER_WORKERS)")


def _log_quietly(settings: Settings) -> None:
    """For commands that print an answer: only what is wrong goes into the log."""
    configure_logging("warning", as_json=settings.logs_json)


@dataclass(frozen=True, slots=True)
class Listening:
    """Sockets that are bound: one a process, and the metrics' own, which all processes share."""

    main: list[socket.socket]
    metrics: socket.socket | None


def _prepare(settings: Settings, *, new: bool) -> Listening:
    """What can fail before serving: keys that are given, the addresses, and the database.

    Keys that are made here are made last, so that a start that was killed leaves none without a
    bank: they are a sign of one.
    """
    configure_logging(settings.log_level, as_json=settings.logs_json)
    for doubt in production_warnings(settings) if settings.env == "production" else ():
        _log.warning("doubtful in production", extra={"fields": {"setting": doubt}})
    for doubt in address_warnings(settings.address):
        _log.warning("doubtful", extra={"fields": {"setting": doubt}})
    if not settings.makes_keys:
        open_keys(settings, SystemClock())
    with ExitStack() as unless_ready:
        enter = unless_ready.enter_context
        sockets = [*map(enter, bind(settings.host, settings.port, settings.workers))]
        apart = endpoint_of(settings.metrics_address) if settings.metrics_address else None
        aside = [enter(one) for one in bind(*apart)] if apart else []
        asyncio.run(migrate_bank(settings, new=new))
        asyncio.run(check_writing(settings))
        asyncio.run(check_stored_keys(settings, open_keys(settings, SystemClock())))
        unless_ready.pop_all()
    return Listening(sockets, *aside or (None,))


def _serve(settings: Settings, listening: Listening, *, jobs: bool, reload: bool) -> None:
    """Serve on one socket here, or on several in a process each; one that reloads is apart, too."""
    sockets, aside = listening.main, listening.metrics
    host, port, *_ = sockets[0].getsockname()
    fields = {"host": host, "port": port, "workers": len(sockets), "env": settings.env}
    if aside is not None:
        fields["metrics_port"] = aside.getsockname()[1]
    _log.info("serving", extra={"fields": fields})
    if len(sockets) == 1 and not reload:
        _serve_here(settings, listening, jobs=jobs)
        return

    def command(number: int, listening: int, control: int) -> list[str]:
        jobless = [] if jobs and number == 0 else ["--no-jobs"]
        metrics = [] if aside is None else ["--metrics", str(aside.fileno())]
        own = [sys.executable, "-P", "-m", "guilder", "serve-worker"]
        numbers = [str(listening), str(control), "--workers", str(len(sockets))]
        return [*own, *numbers, *jobless, *metrics]

    with ExitStack() as until_stopped:
        with reported_errors():
            metrics = until_stopped.enter_context(metrics_folder(settings.data_dir / "run"))
        kind = Reloader if reload else Supervisor
        shared = [] if aside is None else [aside]
        status = asyncio.run(kind(sockets, command, metrics, shared).run())
    _log.info("stopped", extra={"fields": {"exit_status": status}})
    raise typer.Exit(status)


def _leave_metrics_if_full() -> None:
    """Begin anew with metrics of this process alone, where there is no room for those of all."""
    folder = os.environ.get(MULTIPROCESS_FOLDER)
    if folder and not reserve_room(Path(folder), os.getpid()):
        _log.error("no room for the metrics of all workers", extra={"fields": {"folder": folder}})
        logging.shutdown()
        del os.environ[MULTIPROCESS_FOLDER]
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - ourselves, once more


def _serve_here(
    settings: Settings, listening: Listening, *, jobs: bool, control: socket.socket | None = None
) -> None:
    share_one_heap()
    web = create_app(settings, jobs=jobs, tracing=open_tracing(os.environ))
    bounds = connection_bounds(settings)
    web.document.prepare()
    metrics = listening.metrics
    aside = None if metrics is None else (create_metrics_app(web), metrics)
    Server(web, lambda: stop_accepting(web), control, bounds, aside).run(listening.main)
    _log.info("stopped")


async def _work(settings: Settings) -> None:
    stop = asyncio.Event()
    for sig in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sig, stop.set)
    async with open_bank(settings) as bank, jobs_running(bank):
        _log.info("working")
        await stop.wait()
        force_exit_after(STOP_SECONDS)


async def _verify(
    settings: Settings,
    anchors: tuple[Anchor | None, Anchor | None],
    bar: Callable[[str, int, int | None], None],
    archives: Sequence[Path],
) -> Verification:
    await reach_database(settings.database, settings.database_wait_seconds)
    return await verify_database(
        settings.database,
        lambda: audit_signer(settings, open_keys(settings, SystemClock())),
        *anchors,
        lambda name, n: bar(name, n, None),
        archives,
    )


async def _reset(settings: Settings) -> None:
    await reach_database(settings.database, settings.database_wait_seconds)
    await upgrade(settings.database)
    await downgrade(settings.database, "base")
    await migrate_bank(settings, new=True)


async def _seed_demo(settings: Settings) -> None:
    async with open_bank(settings) as bank:
        with _progress() as progress:
            added = await seed_demo(bank, lambda done, total: progress("history", done, total))
    say("The demo bank has been made." if added else "The demo bank is there.")


async def _seed_bulk(settings: Settings, users: int, transfers: int) -> None:
    async with open_bank(settings) as bank:
        with _progress() as progress:
            await seed_bulk(bank, users, transfers, progress)
    say(f"Made {users} users and {transfers} transfers.")


def _anchor_of(text: str | None, option: str) -> tuple[int, str] | None:
    if text is None:
        return None
    number, _, chain = text.partition(":")
    if not (number.isascii() and number.isdigit() and re.fullmatch("[0-9a-fA-F]{64}", chain)):
        raise typer.BadParameter("not NUMBER:HASH", param_hint=option)
    return int(number), chain


async def _create_admin(settings: Settings, email: str, password: str) -> User:
    async with open_bank(settings) as bank:
        encoded = await bank.authentication.hash_password(password, email)
        command = CreateUser(email, encoded, role=Role.ADMIN, email_verified=True)
        return await bank.runner.run(create_user, command, SYSTEM)


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int | None], None]]:
    """Bars on standard error, one for each name; none where nobody watches."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal
    ) as bars:
        tasks: dict[str, Any] = {}

        def show(name: str, done: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done)

        yield show
