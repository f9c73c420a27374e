"""Statements that are compiled once and then go to the driver as they are, with their values.

What SQLAlchemy does for each execution (a statement is built, its cache key taken, rows wrapped)
costs more than most reads; here it is a compiler.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final
from uuid import UUID

from sqlalchemy import BindParameter, Dialect, Select, bindparam

from guilder.db.base import Guid

ANY_KEY: Final[BindParameter[Any]] = bindparam("keys", expanding=True)
"""Stands for a list of keys in a ``Keyed`` statement."""
MOST_KEYS: Final = 1_024
"""Keys that one statement is asked for."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A statement in one dialect: its parameters in order, and what reads which columns.

    A parameter has a name, the value it has unless one is given, and what makes the driver's value.
    ``scans`` tells that it may look at any number of rows.
    """

    sql: str
    parameters: tuple[tuple[str, Any, Callable[[Any], Any] | None], ...]
    readers: tuple[tuple[int, Callable[[Any], Any]], ...]
    scans: bool = False

    def arguments(self, values: dict[str, Any]) -> list[Any]:
        """The driver's positional arguments."""
        return [
            values.get(name, default) if change is None else change(values.get(name, default))
            for name, default, change in self.parameters
        ]

    def rows[R](self, make: Callable[[Any], R], found: Iterable[Sequence[Any]]) -> list[R]:
        """Rows made of what the driver has found."""
        if not self.readers:
            return [make(row) for row in found]
        rows = []
        for row in found:
            values = list(row)
            for place, read in self.readers:
                values[place] = read(values[place])
            rows.append(make(values))
        return rows


class Prepared[R]:
    """A SELECT with named parameters; ``row`` makes a row of its columns' values.

    One that ``scans`` may look at any number of rows, whatever it finds.
    """

    def __init__(
        self,
        statement: Select[*tuple[Any, ...]],
        row: Callable[[Any], R],
        *,
        scans: bool = False,
    ) -> None:
        self.statement = statement
        self.row = row
        self._scans = scans
        self._compiled: dict[str, Compiled] = {}

    def on(self, dialect: Dialect) -> Compiled:
        """The statement in a dialect."""
        found = self._compiled.get(dialect.name)
        if found is None:
            found = replace(_compiled(self.statement, dialect), scans=self._scans)
            self._compiled[dialect.name] = found
        return found


class Keyed[K, R]:
    """A SELECT of rows whose key is one of ``ANY_KEY``.

    ``key`` tells the key of a row.
    """

    def __init__(
        self, statement: Select[*tuple[Any, ...]], row: Callable[[Any], R], key: Callable[[R], K]
    ) -> None:
        self.statement = statement
        self.row = row
        self.key = key
        self._compiled: dict[tuple[str, int], Compiled] = {}

    def on(
        self, dialect: Dialect, keys: Sequence[K], values: dict[str, Any]
    ) -> tuple[Compiled, list[Any]]:
        """The statement in a dialect for so many keys, and its arguments."""
        every = padded(keys)
        count = len(every)
        found = self._compiled.get((dialect.name, count))
        if found is None:
            found = _compiled(self.statement, dialect, {ANY_KEY.key: [keys[0]] * count})
            self._compiled[dialect.name, count] = found
        given = dict(zip(_key_names(count), every, strict=True))
        return found, found.arguments(given | values if values else given)

    def found(self, statement: Compiled, rows: Iterable[Sequence[Any]]) -> dict[K, R]:
        """Rows by their keys, made of what the driver has found."""
        return {self.key(row): row for row in statement.rows(self.row, rows)}


def padded[T](values: Sequence[T]) -> list[T]:
    """The last is repeated until they are a power of two, so that there are few statements."""
    count = 1 << (len(values) - 1).bit_length()
    return [*values, *[values[-1]] * (count - len(values))]


@cache
def _key_names(count: int) -> list[str]:
    return [f"{ANY_KEY.key}_{place}" for place in range(1, count + 1)]


def _compiled(
    statement: Select[*tuple[Any, ...]], dialect: Dialect, given: dict[str, Any] | None = None
) -> Compiled:
    made: Any = statement.compile(dialect=dialect)
    required = {name: None for name, bind in made.binds.items() if bind.required}
    state = made.construct_expanded_state(required | (given or {}))
    expanded = {one: name for name, many in state.parameter_expansion.items() for one in many}
    parameters = []
    for name in state.positiontup:
        bind = made.binds[expanded.get(name, name)]
        change = bind.type.dialect_impl(dialect).bind_processor(dialect)
        parameters.append((name, state.parameters[name], change))
    readers = []
    for place, column in enumerate(statement.exported_columns):
        read: Callable[[Any], Any] | None
        if isinstance(column.type, Guid):  # without what SQLAlchemy wraps around it
            read = _uuid if dialect.name == "sqlite" else None
        else:
            read = column.type.dialect_impl(dialect).result_processor(dialect, None)
        if read is not None:
            readers.append((place, read))
    return Compiled(state.statement, tuple(parameters), tuple(readers))


def _uuid(text: str | None) -> UUID | None:
    return None if text is None else UUID(text)
