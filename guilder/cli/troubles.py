"""What can go wrong without our fault, in a sentence and by the exit status."""

import contextlib
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

import asyncpg
import typer
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from guilder.core.errors import Invalid, Refusal, Unavailable
from guilder.core.ports import SecretsReadOnly, SecretsUnavailable
from guilder.db.audit_archive import InvalidArchive
from guilder.db.engine import UnsafeDatabase
from guilder.db.files import ForeignFolder, Unwritable
from guilder.db.migrate import NewerDatabase, OlderDatabase
from guilder.db.postgres import PostgresAway
from guilder.infra.process.known_databases import BankMissing
from guilder.infra.process.server import CannotListen
from guilder.infra.process.settings import InvalidSettings

REFUSED: Final = 1
USAGE_ERROR: Final = 2
ENVIRONMENT_ERROR: Final = 3
_READ_ONLY: Final = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)


def say(text: str) -> None:
    """Print what a command answers; where that fails the command ends, and says so."""
    try:
        print(text, flush=True)
    except OSError as error:
        with contextlib.suppress(OSError):  # else Python tries once more at the end, and fails
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _end(ENVIRONMENT_ERROR, f"cannot write to standard output: {error.strerror}")


@contextmanager
def reported_errors() -> Iterator[None]:
    """Tell what can go wrong without our fault in a sentence and by the exit status."""
    try:
        yield
    except InvalidSettings as error:
        _end(USAGE_ERROR, str(error))
    except (
        BankMissing,
        CannotListen,
        ForeignFolder,
        NewerDatabase,
        OlderDatabase,
        PostgresAway,
        Unwritable,
        UnsafeDatabase,
        SecretsUnavailable,
    ) as error:
        _end(ENVIRONMENT_ERROR, str(error))
    except InvalidArchive as error:
        _end(REFUSED, f"nothing was archived: {error}")
    except SecretsReadOnly as error:
        _end(REFUSED, str(error))
    except Unavailable as error:
        _end(ENVIRONMENT_ERROR, _told_of_database(error))
    except Refusal as refusal:
        fields = refusal.fields if isinstance(refusal, Invalid) else ()
        _end(REFUSED, " ".join([refusal.detail, *(field.message for field in fields)]))
    except (OSError, SQLAlchemyError, asyncpg.PostgresError) as error:
        _end(ENVIRONMENT_ERROR, _told_of_database(error))


def _told_of_database(error: BaseException) -> str:
    """What was raised first of all, in the words of whoever knows the address, if somebody does."""
    while error.__cause__ is not None and not isinstance(error, PostgresAway):
        error = error.__cause__
    if isinstance(error, PostgresAway):
        return str(error)
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    first = error.orig if isinstance(error, DBAPIError) else error
    why = f"the database cannot be used: {getattr(first, 'strerror', None) or first}"
    if getattr(first, "sqlite_errorcode", 0) & 0xFF in _READ_ONLY:
        why += (
            "\nSQLite writes beside the database even to read it: copy the database to a folder "
            "that can be written, and look at the copy"
        )
    return why


def _end(status: int, message: str) -> NoReturn:
    with contextlib.suppress(OSError):  # the status tells, where nothing can be written
        for line in message.splitlines():
            print(f"guilder: {line}", file=sys.stderr, flush=True)
    raise typer.Exit(status)
