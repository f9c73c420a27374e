"""``UnitOfWork`` (inside a writing transaction) and ``View`` (a transaction that cannot write)."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from itertools import batched
from typing import Any, Final, NamedTuple, Self

from sqlalchemy import Column, Delete, Executable, Insert, Result, Table, Update, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from guilder.core.actor import Actor
from guilder.core.events import Event, EventRoutes
from guilder.db.arrays import arrays, insert_sql
from guilder.db.audit import AuditDetails
from guilder.db.deliveries import deliveries, delivery_rows, stream_lock
from guilder.db.digests import (
    RowChanges,
    RowState,
    changes_digest,
    digested_columns,
    has_digests,
    row_state,
)
from guilder.db.engine import RetryTransaction
from guilder.db.outbox import insert_event, outbox
from guilder.db.prepared import ANY_KEY, MOST_KEYS, Keyed, Prepared
from guilder.db.reader import Reader

_STREAM_LOCKS: Final = 0x67756C64  # "guld": a space of locks beside that of the claimed keys
_LOCK_STREAM: Final = text("SELECT pg_advisory_xact_lock(CAST(:s AS int), CAST(:n AS int))")
_CLAIM: Final = text(
    "SELECT number FROM unnest(CAST(:numbers AS bigint[])) AS number "
    "WHERE NOT pg_try_advisory_xact_lock(number)"
)
NO_EVENT_ROUTES: Final[EventRoutes] = {}


class View(Reader):
    """Reads of one consistent transaction. The database refuses writes made through it."""

    def __init__(self, connection: AsyncConnection, now_us: int) -> None:
        super().__init__(now_us)
        self._connection = connection

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._connection.dialect.name

    async def rows[R](self, prepared: Prepared[R], **values: Any) -> list[R]:
        """Every row."""
        return [prepared.row(row) for row in await self.all(prepared.statement, values)]

    async def keyed[K, R](
        self, keyed: Keyed[K, R], keys: Collection[K], **values: Any
    ) -> dict[K, R]:
        """The rows of these keys; keys without a row are absent."""
        found: dict[K, R] = {}
        for some in batched(keys, MOST_KEYS):
            rows = map(
                keyed.row, await self.all(keyed.statement, {ANY_KEY.key: list(some), **values})
            )
            found.update((keyed.key(row), row) for row in rows)
        return found

    async def all(self, statement: Executable, values: Any = None) -> Sequence[Any]:
        """Every row."""
        return (await self._run(statement, values)).all()

    async def stream(self, statement: Executable) -> AsyncIterator[Any]:
        """Rows one by one as the database finds them, where all would be too much to hold."""
        async for row in await self._connection.stream(statement):
            yield row

    async def first(self, statement: Executable, values: Any = None) -> Any:
        """The first row or None."""
        return (await self._run(statement, values)).first()

    async def scalar(self, statement: Executable, values: Any = None) -> Any:
        """The first column of the first row or None."""
        return (await self._run(statement, values)).scalar()

    async def _run(self, statement: Executable, values: Any) -> Result[Any]:
        return await self._connection.execute(statement, values)


class Written(NamedTuple):
    """What a statement has done: how many rows it has inserted, changed or deleted."""

    rowcount: int


class UnitOfWork(View):
    """You are inside a transaction: everything here commits together or not at all.

    Only the runner makes one, and only the runner commits it.
    """

    def __init__(
        self,
        connection: AsyncConnection,
        actor: Actor,
        now_us: int,
        routes: EventRoutes = NO_EVENT_ROUTES,
    ) -> None:
        super().__init__(connection, now_us)
        self.actor = actor
        self.audit_details = AuditDetails()
        self.row_changes = RowChanges()
        self._routes = routes

    def acting_as(self, actor: Actor) -> Self:
        """The same transaction for somebody else, who leaves details and events of their own."""
        other = type(self)(self._connection, actor, self.now_us)
        other.row_changes = self.row_changes
        return other

    async def execute(self, statement: Executable, values: Any = None) -> Written:
        """Run a statement that changes rows."""
        if (table := _digested(statement)) is not None:
            return Written((await self._noted(table, statement, values))[1])
        return Written((await self._connection.execute(statement, values)).rowcount)

    async def _run(self, statement: Executable, values: Any) -> Result[Any]:
        if (table := _digested(statement)) is not None:
            return (await self._noted(table, statement, values))[0]
        return await super()._run(statement, values)

    async def _noted(self, table: Table, statement: Any, values: Any) -> tuple[Result[Any], int]:
        """Run a statement, noting what it does to rows that have digests; and how many they are."""
        before: dict[Any, RowState] = {}
        if isinstance(statement, Update):
            if not changes_digest(table, statement, values):
                done = await self._connection.execute(statement, values)
                return done, done.rowcount
            before = await self._locked(table, statement, values)
        columns = digested_columns(table)
        asked = len(statement.exported_columns)
        labelled = [column.label(f"digested_{column.name}") for column in columns]
        done = await self._connection.execute(statement.returning(*labelled), values)
        result, count = done.freeze(), 0
        for row in result().columns(*range(asked, asked + len(columns))):
            state, count = row_state(table, row), count + 1
            if isinstance(statement, Update) and state.key not in before:
                raise RetryTransaction(f"a row of {table.name} appeared meanwhile")
            after = None if isinstance(statement, Delete) else state
            was = state if isinstance(statement, Delete) else before.get(state.key)
            self.row_changes.note(table, was, after)
        return (result().columns(*range(asked)) if asked else result()), count

    async def _locked(self, table: Table, statement: Update, values: Any) -> dict[Any, RowState]:
        """The rows that an UPDATE is about to change, by their keys."""
        found = select(*digested_columns(table)).with_for_update(key_share=True, of=table)
        if statement.whereclause is not None:
            found = found.where(statement.whereclause)
        rows = await self._connection.execute(found, values)
        states = [row_state(table, row) for row in rows]
        return {state.key: state for state in states}

    def audit(self, subject: object = None, **detail: object) -> None:
        """Add to the command's audit row: the id of its subject, and details as JSON values.

        It stands in the row of the outcome, of a refusal too if it was added before that. A detail
        that is added again replaces the one before. Never a secret, nor an address that somebody
        only guesses: the trail is kept and cannot be changed.
        """
        self.audit_details.add(subject, detail)

    async def record(self, event: Event, delay_us: int = 0) -> None:
        """Append an event to the outbox of this transaction, with its deliveries.

        They are due after ``delay_us``.

        From here to the end of the transaction no other one adds to the same stream for the
        same subscribers, so that ids within a stream follow commits.
        """
        subscribers = self._routes.get(event.type, ())
        statement = insert_event(event, self.now_us)
        if not subscribers:
            await self.execute(statement)
            return
        if self.dialect == "postgresql":
            await self.execute(_LOCK_STREAM, {"s": _STREAM_LOCKS, "n": stream_lock(event.stream)})
        event_id = await self.scalar(statement.returning(outbox.c.id))
        rows = delivery_rows(event_id, event, subscribers, self.now_us + delay_us)
        await self.execute(deliveries.insert(), rows)

    async def claim(self, keys: Collection[bytes]) -> list[bytes]:
        """Take keys for this transaction; gives those that another one holds, without waiting.

        SQLite has one writer at a time, so there the transaction itself is the claim.
        """
        if self.dialect != "postgresql":
            return []
        numbers = {int.from_bytes(key[:8], signed=True): key for key in keys}
        held = await self.all(_CLAIM, {"numbers": list(numbers)})
        return [numbers[row.number] for row in held]

    @property
    def connection(self) -> AsyncConnection:
        """The connection, for the ledger's stores: they speak to the driver beneath it."""
        return self._connection


async def insert_for_each(
    table: Table, rows: Sequence[tuple[UnitOfWork, Mapping[str, Any]]], by: Column[Any]
) -> list[Any]:
    """Insert a row for each of some units of work of one transaction, all in one statement.

    Gives the rows as stored, in order; each unit notes its own. ``by`` tells them apart: a unique
    column that every row gives.
    """
    connection, values = rows[0][0].connection, [row for _, row in rows]
    told = digested_columns(table)
    found: Result[Any]
    if connection.dialect.name == "postgresql":
        sql = insert_sql(table, tuple(values[0]), tuple(column.name for column in told))
        found = await connection.exec_driver_sql(sql, arrays(values, values[0]))
    else:
        found = await connection.execute(table.insert().returning(*told), values)
    place = told.index(by)
    stored = {row[place]: row for row in found}
    inserted = [stored[row[by.name]] for row in values]
    for (uow, _), row in zip(rows, inserted, strict=True):
        uow.row_changes.note(table, None, row_state(table, row))
    return inserted


def _digested(statement: Executable) -> Table | None:
    """The table that a statement writes, if its rows have digests."""
    if not isinstance(statement, Insert | Update | Delete):
        return None
    table = statement.table
    return table if isinstance(table, Table) and has_digests(table) else None
