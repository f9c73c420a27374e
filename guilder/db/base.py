"""Column types and metadata that mean the same on STRICT SQLite tables and on PostgreSQL.

Instants are BIGINT microseconds since 1970 and dates are INTEGER days since 1970 on both, so the
same bank can move from one database to the other as plain rows.
"""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    Dialect,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    TypeDecorator,
    Uuid,
)
from sqlalchemy.types import TypeEngine

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Big: Final = BigInteger().with_variant(Integer(), "sqlite")
Small: Final = SmallInteger().with_variant(Integer(), "sqlite")
Bytes: Final = LargeBinary()
String: Final = Text()

STRICT: Final[dict[str, Any]] = {"sqlite_strict": True}
"""Table options: a STRICT table refuses a value of the wrong type instead of bending it."""

APPEND_ONLY: Final[dict[str, Any]] = {"info": {"append_only": True}}
"""Table options: rows are only ever inserted, triggers refuse all else (see ``append_only``)."""


def only_changes(*columns: str, rows_stay: bool = True) -> dict[str, Any]:
    """Table options: of a row's columns these alone change, and no row is deleted if they stay.

    PostgreSQL's role of the application may do no more than that.
    """
    return {"info": {"only_changes": columns, "rows_stay": rows_stay}}


def is_append_only(table: Table) -> bool:
    """Whether the model is marked with ``APPEND_ONLY``."""
    return bool(table.info.get("append_only"))


def changing_columns(table: Table) -> tuple[str, ...] | None:
    """The columns that change, none of a final table; None where any may."""
    found: tuple[str, ...] | None = table.info.get("only_changes")
    return () if is_append_only(table) else found


def rows_stay(table: Table) -> bool:
    """Whether no row is ever deleted."""
    return is_append_only(table) or bool(table.info.get("rows_stay"))


class Guid(TypeDecorator[UUID]):
    """A UUID: native on PostgreSQL, canonical text on SQLite."""

    impl = Uuid
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """TEXT on SQLite."""
        native = Text() if dialect.name == "sqlite" else Uuid()
        return dialect.type_descriptor(native)

    def process_bind_param(self, value: UUID | None, dialect: Dialect) -> Any:
        """Text for SQLite, the value itself elsewhere."""
        return str(value) if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> UUID | None:
        """Always a ``UUID``."""
        return UUID(value) if isinstance(value, str) else value


class Flagged(TypeDecorator[bool]):
    """A truth value: BOOLEAN on PostgreSQL, 0 or 1 on SQLite."""

    impl = Boolean
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """INTEGER on SQLite."""
        return dialect.type_descriptor(Integer() if dialect.name == "sqlite" else Boolean())

    def process_result_value(self, value: Any, dialect: Dialect) -> bool | None:
        """Always a ``bool``."""
        return None if value is None else bool(value)
