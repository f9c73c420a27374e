"""The proof of ``digests``: what the audit trail says that rows are, held against the rows.

The trail is followed from its first row. A change names the digest that the row had before, so a
row that was altered by hand is found even if a command has changed it since. Rows that are older
than digests were taken stock of once, by the upgrade.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from sqlalchemy import Table, func, select, tuple_

from guilder.db.audit import Phase, audit_events, audit_head
from guilder.db.digests import (
    NOTHING_CHANGED,
    Digester,
    digested_columns,
    digested_tables,
    raw_columns,
    row_state,
)
from guilder.db.unit_of_work import UnitOfWork, View

STOCK_ACTION: Final = "audit.take_stock"
CARRY_ACTION: Final = "audit.archive"
"""An archive carries on the digests as they were told up to the ``last`` row that it took away."""

STOCK_PAGE: Final = 2_000
CARRY_PAGE: Final = 1_000

type Digest = bytes | None
type StockPosition = tuple[str, tuple[Any, ...] | None]
"""A table and the key of a row in it."""


class BrokenDigest(NamedTuple):
    """A row that is not as the trail has it."""

    table: str
    key: str
    problem: str


async def digester_of(view: View) -> Digester:
    """Makes digests under this database's key."""
    return Digester(await view.scalar(select(audit_head.c.digest_key)))


class DigestTrail:
    """What the rows of the trail say, told one after the other; see ``follow``."""

    def __init__(self) -> None:
        self.broken: BrokenDigest | None = None
        self._known: dict[str, dict[str, Digest]] = {}
        self._claimed: dict[tuple[str, str], tuple[Digest, int]] = {}
        self._first: int | None = None
        self._stock_is_taken: bool | None = None

    def begin(self, number: int) -> None:
        """The number of the trail's first row."""
        self._first = number

    def known(self) -> Iterator[tuple[str, str, bytes]]:
        """Table, name and last digest of every row that has one."""
        for table, rows in self._known.items():
            for name, digest in rows.items():
                if digest is not None:
                    yield table, name, digest

    def follow(self, number: int, row: Any) -> None:
        """The next row of the trail; afterwards ``broken`` is set if it does not fit those before.

        A row of a success without digests is older than these, and stock will be taken.
        """
        if self._first is None:
            self._first = number
        if row.digests is None:
            if row.phase == Phase.SUCCEEDED and self._stock_is_taken is None:
                self._stock_is_taken = False
            return
        if self._stock_is_taken is None:
            self._stock_is_taken = True
        if row.digests != NOTHING_CHANGED:
            try:
                self._told(number, row, json.loads(row.digests))
            except (ValueError, TypeError, AttributeError):  # a row under a lost key is anybody's
                self._break("audit_events", str(number), "its digests cannot be read")
        if row.action == STOCK_ACTION and _detail(row).get("complete"):
            self._stock_is_taken = True

    def _told(self, number: int, row: Any, tables: dict[str, Any]) -> None:
        is_carried = row.action == CARRY_ACTION
        if is_carried and _detail(row).get("last") != (self._first or 0) - 1:
            return  # a later archive has left newer ones
        for table, rows in tables.items():
            for name, digests in rows.items():
                given = [None if one is None else urlsafe_b64decode(one) for one in digests]
                if len(given) > 1:
                    self._change(table, name, number, *given)
                else:
                    self._stand(table, name, given[0], is_carried=is_carried)

    def _change(self, table: str, name: str, number: int, before: Digest, after: Digest) -> None:
        known = self._known.setdefault(table, {})
        if name in known:
            if known[name] != before:
                self._break(table, name, f"it had been altered before row {number} of the trail")
        elif before is not None:
            self._claimed[table, name] = before, number
        known[name] = after

    def _stand(self, table: str, name: str, digest: Digest, *, is_carried: bool) -> None:
        """A row that just stands: of which nothing was told, or nothing that is still there."""
        known = self._known.setdefault(table, {})
        claimed, _ = self._claimed.pop((table, name), (None, 0))
        if name not in known:
            if self._stock_is_taken and not is_carried:
                self._break(table, name, "stock was taken of it when that had long been done")
            known[name] = digest
        elif claimed is not None and digest not in (claimed, known[name]):
            self._break(table, name, "it had been altered before anything was told of it")

    def _break(self, table: str, name: str, problem: str) -> None:
        if self.broken is None:
            self.broken = BrokenDigest(table, name, problem)

    def refuse_unknown(self) -> None:
        """Set ``broken`` where a command has changed a row of which nothing was told before."""
        for (table, name), (_, number) in self._claimed.items():
            self._break(table, name, f"nothing tells of it before row {number} of the trail")

    async def compare(self, view: View) -> int:
        """Hold all rows that have digests against what was told; how many there are.

        Sets ``broken`` to the first that differs. Nothing is compared before stock was taken.
        """
        if self._stock_is_taken is not False:
            self.refuse_unknown()
        if self._stock_is_taken is False or self.broken is not None:
            return 0
        if await view.scalar(select(audit_head.c.digest_key)) is None:
            self._break("audit_head", "0", "the key of digests is missing")
            return 0
        digester = await digester_of(view)
        return sum([await self._compare(view, digester, table) for table in digested_tables()])

    async def _compare(self, view: View, digester: Digester, table: Table) -> int:
        known, count = self._known.pop(table.name, {}), 0
        async for row in view.stream(select(*raw_columns(table)).order_by(*table.primary_key)):
            state, count = row_state(table, row), count + 1
            name = digester.name(state)
            told = known.pop(name, None)
            if told is None:
                self._break(table.name, name, "the audit trail tells of no such row")
            elif told != urlsafe_b64decode(digester.digest(state)):
                self._break(table.name, name, "it is not as the audit trail has it")
        for name, told in known.items():
            if told is not None:
                self._break(table.name, name, "it is missing, the audit trail has it")
        return count


def _detail(row: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(row.detail or "{}")
    return found


async def stock_is_due(view: View) -> bool:
    """Whether the trail is older than digests and stock was not taken to the end."""
    c = audit_events.c
    succeeded = c.phase == Phase.SUCCEEDED.value
    first = await view.first(select(c.digests).where(succeeded).order_by(c.id).limit(1))
    if first is None or first.digests is not None:
        return False
    last = await view.first(
        select(c.detail)
        .where(c.action == STOCK_ACTION, succeeded)
        .order_by(c.at.desc(), c.id.desc())
        .limit(1)
    )
    return last is None or not _detail(last).get("complete")


async def carry_digests(uow: UnitOfWork, last: int) -> None:
    """Let the trail tell once more what was told last of each row, up to a row of the trail."""
    c = audit_events.c
    trail = DigestTrail()
    trail.begin(await uow.scalar(select(func.min(c.id))))
    told = c.digests.is_not(None) & (c.digests != NOTHING_CHANGED)
    wanted = told & ((c.id <= last) | (c.action == CARRY_ACTION))
    page = select(c.id, c.phase, c.action, c.detail, c.digests).where(wanted).order_by(c.id)
    after = 0
    while rows := await uow.all(page.where(c.id > after).limit(CARRY_PAGE)):
        for row in rows:
            trail.follow(row.id, row)
        after = rows[-1].id
    for table, name, digest in trail.known():
        uow.row_changes.carry(table, name, urlsafe_b64encode(digest).decode())


async def take_stock_of(uow: UnitOfWork, position: StockPosition) -> StockPosition | None:
    """Let the trail tell how the next rows stand; after which to go on, None at the end."""
    room = STOCK_PAGE
    for table in digested_tables():
        if table.name < position[0]:
            continue
        after = position[1] if table.name == position[0] else None
        key = list(table.primary_key)
        statement = select(*digested_columns(table)).order_by(*key).limit(room)
        if after is not None:
            statement = statement.where(tuple_(*key) > after)
        rows = await uow.all(statement)
        for row in rows:
            uow.row_changes.state(table, row_state(table, row))
        room -= len(rows)
        if not room:
            return table.name, tuple(getattr(rows[-1], column.name) for column in key)
    return None
