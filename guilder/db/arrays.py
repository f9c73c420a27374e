"""Rows for PostgreSQL as one array a column: a statement is the same however many rows there are.

So the server prepares it once, and nobody compiles it again.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final

from sqlalchemy import Table, make_url

_DIALECT: Final = make_url("postgresql+asyncpg://").get_dialect()()


def arrays_sql(table: Table, columns: Iterable[str]) -> str:
    """One array a column, as parameters from $1 on."""
    types = [table.c[name].type.compile(dialect=_DIALECT).lower() for name in columns]
    return ", ".join(f"${i}::{type_}[]" for i, type_ in enumerate(types, 1))


@cache
def insert_sql(table: Table, columns: tuple[str, ...], returning: tuple[str, ...] = ()) -> str:
    """An insert from one array a column."""
    given = ", ".join(columns)
    told = f" RETURNING {', '.join(returning)}" if returning else ""
    return (
        f"INSERT INTO {table.name} ({given}) "  # noqa: S608 - names of columns
        f"SELECT {given} FROM unnest({arrays_sql(table, columns)}) "
        f"WITH ORDINALITY AS told ({given}, nth) ORDER BY nth{told}"
    )


def arrays(rows: Sequence[Mapping[str, Any]], columns: Iterable[str]) -> tuple[list[Any], ...]:
    """Rows as one array a column."""
    return tuple([row[name] for row in rows] for name in columns)
