"""What can go wrong without our fault, in a sentence and by the exit status."""

import contextlib
import os
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
    except Unavailable:
        _end(ENVIRONMENT_ERROR, "the database cannot be reached")
    except Refusal as refusal:
        fields = refusal.fields if isinstance(refusal, Invalid) else ()
        _end(REFUSED, " ".join([refusal.detail, *(field.message for field in fields)]))
    except DBAPIError as error:
        _end(ENVIRONMENT_ERROR, f"the database cannot be used: {error.orig}")
    except OSError as error:
        where = error.filename or "the database cannot be used"
        _end(ENVIRONMENT_ERROR, f"{where}: {error.strerror or error}")
    except (SQLAlchemyError, asyncpg.PostgresError) as error:
        _end(ENVIRONMENT_ERROR, f"the database cannot be used: {error}")


def _end(status: int, message: str) -> NoReturn:
    with contextlib.suppress(OSError):  # the status tells, where nothing can be written
        for line in message.splitlines():
            print(f"guilder: {line}", file=sys.stderr, flush=True)
    raise typer.Exit(status)
