"""What can go wrong without our fault, in a sentence and by the exit status."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import asyncpg
import typer
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from guilder.core.errors import Invalid, Refusal, Unavailable
from guilder.core.ports import SecretsReadOnly, SecretsUnavailable
from guilder.db.engine import UnsafeDatabase
from guilder.db.migrate import NewerDatabase
from guilder.infra.process.server import CannotListen
from guilder.infra.process.settings import BadSettings

REFUSED: Final = 1
WRONG_USE: Final = 2
NOT_HERE: Final = 3


@contextmanager
def expected_troubles() -> Iterator[None]:
    """Tell what can go wrong without our fault in a sentence and by the exit status."""
    try:
        yield
    except BadSettings as error:
        _end(WRONG_USE, str(error))
    except (CannotListen, NewerDatabase, UnsafeDatabase, SecretsUnavailable) as error:
        _end(NOT_HERE, str(error))
    except SecretsReadOnly as error:
        _end(REFUSED, str(error))
    except Unavailable:
        _end(NOT_HERE, "the database cannot be reached")
    except Refusal as refusal:
        fields = refusal.fields if isinstance(refusal, Invalid) else ()
        _end(REFUSED, " ".join([refusal.detail, *(field.message for field in fields)]))
    except DBAPIError as error:
        _end(NOT_HERE, f"the database cannot be used: {error.orig}")
    except (OSError, SQLAlchemyError, asyncpg.PostgresError) as error:
        _end(NOT_HERE, f"the database cannot be used: {error}")


def _end(status: int, message: str) -> None:
    for line in message.splitlines():
        print(f"guilder: {line}", file=sys.stderr)
    raise typer.Exit(status)
