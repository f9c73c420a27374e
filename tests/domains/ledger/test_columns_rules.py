"""One list of columns: tables, rows, what is written and what is hashed agree, or do not start."""

from typing import Any, get_args, get_type_hints
from uuid import UUID

import pytest
from sqlalchemy import Column, MetaData, Table

from guilder.db.base import Guid
from guilder.domains.ledger import models
from guilder.domains.ledger.engine import batch_chain_hash
from guilder.domains.ledger.models import ROWS, check_rows
from guilder.domains.ledger.rules import rows
from guilder.domains.ledger.rules.decide import decide
from guilder.domains.ledger.rules.state import (
    COUNTERS,
    Decision,
    Hold,
    HoldState,
    LedgerAccount,
    LedgerState,
    Limit,
    Posting,
    Unit,
)
from guilder.domains.ledger.store import base

PLAIN: list[tuple[Any, type]] = [
    (rows.NewTransfer, rows.TransferRow),
    (rows.NewSearch, rows.SearchRow),
    (rows.NewEntry, rows.EntryRow),
    (rows.NewKey, rows.KeyRow),
    (rows.ChangedHold, rows.HoldRow),
]
COLUMNS = models.holds.c.keys()


def said(column: "Column[Any]") -> Any:
    """The type of a column's values as an annotation says it."""
    kind = UUID if isinstance(column.type, Guid) else column.type.python_type
    return kind | None if column.nullable else kind


@pytest.mark.parametrize("table", ROWS, ids=lambda table: table.name)
def test_a_row_has_the_types_of_its_table(table: Table) -> None:
    assert get_type_hints(ROWS[table]) == {column.name: said(column) for column in table.c}


@pytest.mark.parametrize(
    "columns",
    [COLUMNS[:-1], [*COLUMNS, "planted"], [*COLUMNS[1::-1], *COLUMNS[2:]]],
    ids=["missing", "added", "swapped"],
)
def test_a_column_in_one_place_only_is_refused(columns: list[str]) -> None:
    planted = Table("planted", MetaData(), *[Column(name) for name in columns])
    with pytest.raises(AssertionError, match="HoldRow is no row of planted"):
        check_rows({planted: rows.HoldRow})


@pytest.mark.parametrize(("plain", "row"), PLAIN)
def test_what_is_written_has_the_types_of_its_row(plain: Any, row: type) -> None:
    assert get_args(plain.__value__) == tuple(get_type_hints(row).values())


def test_what_changes_is_laid_out_as_the_statements_ask() -> None:
    account = LedgerAccount(1, "USD", 1, 2, 3, 4, 5, 6)
    hold = Hold(7, 8, 9, "USD", 10, HoldState.CAPTURED, 11)
    limit = Limit(12, "day", 13, 14, 15, 16, 17)
    decision = Decision([], 0, 0)
    decision.changed_accounts, decision.changed_holds = {1: account}, {7: hold}
    decision.changed_limits = {(12, "day"): limit}
    for laid_out, thing, columns in (
        (base.balance_rows(decision), account, ("id", *COUNTERS, "loaded_version")),
        (base.hold_rows(decision), hold, models.holds.c.keys()),
        (base.used_rows(decision), limit, base.LIMIT),
    ):
        assert laid_out == [tuple(getattr(thing, name) for name in columns)]


def test_the_chain_hashes_the_columns_that_it_has_always_hashed() -> None:
    """The digest is from before the list of columns was one: history is hashed by this order."""
    state = LedgerState(40, 1_000, {n: LedgerAccount(n, "USD", 1, 0, 100, 0, 0, 0) for n in (2, 3)})
    posting = Posting(
        2, 3, 5, "USD", value_on=20_000, ref=6, created_by=UUID(int=7), description="d",
        reference="r", metadata="{}",
    )  # fmt: skip
    decision = decide(state, [Unit([posting, posting], atomic=True)], 2_000)
    assert [row[0] for row in decision.transfers] == [41, 42]
    digest = "f4176da814796ecdbc8cf6a8a342cce77aad9b28b40b790914663d42da41f90e"
    assert batch_chain_hash(bytes(32), decision.transfers).hex() == digest
