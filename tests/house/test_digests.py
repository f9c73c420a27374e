"""Every table says whether the audit trail tells digests of its rows, or why it does not."""

from collections.abc import Iterable

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, update

from guilder.db.digests import (
    WHY_NOT,
    changes_digest,
    digest_rows,
    digested_tables,
    has_digests,
    no_digests,
)
from guilder.tables import metadata
from tests.support.workers import ROOT

PAGE = ROOT / "docs" / "explanation" / "audit.md"


def undeclared(tables: Iterable[Table]) -> list[str]:
    """Tables that say neither, or both."""
    return [t.name for t in tables if has_digests(t) == bool(t.info.get(WHY_NOT))]


def test_every_table_has_digests_or_says_why_not() -> None:
    assert undeclared(metadata.tables.values()) == []


def test_a_table_that_says_neither_or_both_is_found() -> None:
    planted = Table("planted", MetaData(), Column("id", Integer, primary_key=True))
    assert undeclared([planted]) == ["planted"]
    digest_rows(planted)
    assert undeclared([planted]) == []
    no_digests(planted, "planted")
    assert undeclared([planted]) == ["planted"]


def test_the_page_names_every_table_that_has_digests() -> None:
    page = PAGE.read_text()
    assert [table.name for table in digested_tables() if f"`{table.name}`" not in page] == []


@pytest.mark.parametrize(
    ("values", "covered"),
    [({"facts": 1}, True), ({"busy": 1}, False), ({"busy": 1, "facts": 2}, True)],
)
def test_what_an_update_sets_is_known(values: dict[str, int], covered: bool) -> None:
    columns = [Column(name, Integer) for name in ("facts", "busy")]
    planted = Table("planted", MetaData(), Column("id", Integer, primary_key=True), *columns)
    digest_rows(planted, but=("busy",))
    by_column = {planted.c[name]: value for name, value in values.items()}
    for statement in (update(planted).values(**values), update(planted).values(by_column)):
        assert changes_digest(planted, statement, None) is covered
    assert changes_digest(planted, update(planted), values) is covered
