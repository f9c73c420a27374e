"""Digests of rows: what the audit trail says that the rows of a table should be.

A command that changes facts of a row leaves, in the row of its outcome, the digest of the row as it
was and as it is. Both are in one transaction and the trail is chained under a key, so nobody with
the database alone can change such a row and have the trail agree; see ``digest_proof``.

Every table of the house declares one or the other: ``digest_rows`` or ``no_digests``.
"""

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import Column, ColumnElement, Integer, String, Table, Update, cast

from guilder.db.base import Flagged, Guid, metadata

BYTES: Final = 24
"""Of an HMAC-SHA-256: its key is in the database, so two rows of one digest must not be found."""

_json: Final = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode
NOTHING_CHANGED: Final = "{}"
_COLUMNS: Final = "digested_columns"
WHY_NOT: Final = "why_no_digests"


def digest_rows(table: Table, *, but: Collection[str] = ()) -> None:
    """Declare that commands which change rows leave digests of them, of all columns ``but`` some.

    What has no value does not count, so a nullable column can be added without new digests.
    """
    unknown = set(but) - set(table.c.keys())
    assert not unknown, f"{table.name} has no {unknown}"
    table.info[_COLUMNS] = tuple(column for column in table.c if column.name not in but)


def no_digests(table: Table, reason: str) -> None:
    """Declare that rows of the table have no digests, and why that is no loss."""
    table.info[WHY_NOT] = reason


def has_digests(table: Table) -> bool:
    """Whether its rows have digests."""
    return _COLUMNS in table.info


def digested_tables() -> list[Table]:
    """Those whose rows have digests, by name."""
    return [table for _, table in sorted(metadata.tables.items()) if has_digests(table)]


def digested_columns(table: Table) -> tuple[Column[Any], ...]:
    """The columns that digests of a table cover."""
    found: tuple[Column[Any], ...] = table.info[_COLUMNS]
    return found


def changes_digest(table: Table, statement: Update, values: Any) -> bool:
    """Whether an UPDATE sets a column that digests cover.

    Raises ``TypeError`` for one that sets what tells its rows apart, or is run for a list.
    """
    if values is not None and not isinstance(values, Mapping):
        raise TypeError(f"rows of {table.name} have digests: change them one statement each")
    set_here = [*(statement._values or ()), *(values or ())]  # the library has no other door
    names = {getattr(column, "name", column) for column in set_here}
    if names & set(table.primary_key.columns.keys()):
        raise TypeError(f"rows of {table.name} have digests: their keys stay")
    covered = {column.name for column in digested_columns(table)}
    return bool(names & covered)


def raw_columns(table: Table) -> list[ColumnElement[Any]]:
    """The digested columns as they stand: a bent id or truth value is read and not refused."""
    raw: list[ColumnElement[Any]] = []
    for column in digested_columns(table):
        if isinstance(column.type, Guid):
            raw.append(cast(column, String).label(column.name))
        elif isinstance(column.type, Flagged):
            raw.append(cast(column, Integer).label(column.name))
        else:
            raw.append(column)
    return raw


class RowState(NamedTuple):
    """A row as its digest is made of it: its key, and the table with all values that it has."""

    key: tuple[bytes | str, ...]
    content: bytes


def row_state(table: Table, row: Iterable[Any]) -> RowState:
    """Of the values of the digested columns, in their order."""
    names = [column.name for column in digested_columns(table)]
    values = {name: _plain(value) for name, value in zip(names, row, strict=True)}
    key = tuple(values[name] for name in table.primary_key.columns.keys())  # noqa: SIM118 - columns
    told = {n: v.hex() if isinstance(v, bytes) else v for n, v in values.items() if v is not None}
    content = _json([table.name, told])
    return RowState(tuple(k if isinstance(k, bytes) else str(k) for k in key), content.encode())


def _plain(value: Any) -> Any:
    """Ids as text and truth as 0 or 1, as ``raw_columns`` gives them."""
    if value is None or isinstance(value, bytes | str):
        return value
    return int(value) if isinstance(value, int) else str(value)


class Digester:
    """Makes digests under the key of ``audit_head``, which the trail itself does not tell.

    So whoever reads the trail alone cannot try what a row may have held.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def digest(self, state: RowState) -> str:
        """The digest in base64."""
        return self._of(state.content)

    def name(self, state: RowState) -> str:
        """How the trail names the row: by its key; where that is bytes, by the key's own digest."""
        return "/".join(self._of(part) if isinstance(part, bytes) else part for part in state.key)

    def _of(self, content: bytes) -> str:
        return urlsafe_b64encode(hmac.digest(self._key, content, "sha256")[:BYTES]).decode()


class RowChanges:
    """What a unit of work has done to rows that have digests: how each was, and how it is."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, tuple[bytes | str, ...]], list[RowState | None]] = {}
        self._stated: list[tuple[str, RowState]] = []
        self._carried: list[tuple[str, str, str]] = []

    def __bool__(self) -> bool:
        return bool(self._rows or self._stated or self._carried)

    def note(self, table: Table, before: RowState | None, after: RowState | None) -> None:
        """Add a change: without ``before`` a row that was made, without ``after`` one deleted."""
        state = after or before
        assert state is not None
        self._rows.setdefault((table.name, state.key), [before, None])[1] = after

    def state(self, table: Table, row: RowState) -> None:
        """Add how a row stands, of which nothing has been told before."""
        self._stated.append((table.name, row))

    def carry(self, table: str, name: str, digest: str) -> None:
        """Add what was told last of a row, where that goes into an archive."""
        self._carried.append((table, name, digest))

    def document(self, digester: Digester) -> str:
        """For the trail: by table and row the two digests, or the one of a row that just stands."""
        told: dict[str, dict[str, list[str | None]]] = {}
        for (table, _), (before, after) in self._rows.items():
            known = after or before
            assert known is not None
            digests = [None if one is None else digester.digest(one) for one in (before, after)]
            if digests[0] != digests[1]:
                told.setdefault(table, {})[digester.name(known)] = digests
        for table, row in self._stated:
            told.setdefault(table, {})[digester.name(row)] = [digester.digest(row)]
        for table, name, digest in self._carried:
            told.setdefault(table, {})[name] = [digest]
        return _json(told)
