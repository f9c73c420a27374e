"""Fold what is searched for: the words of transfers, and the addresses and names of users."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

from guilder.core.text import search_text
from guilder.db.append_only import protect, unprotect
from guilder.db.base import Big, Guid

revision = "20261128_fold_searches"
down_revision = "20261128_keyed_trail"
branch_labels = None
depends_on = None

PAGE = 5_000

_TRANSFERS = sa.table(
    "ledger_transfers", sa.column("id", Big), sa.column("description"), sa.column("reference")
)
_SEARCH = sa.table("ledger_search", sa.column("transfer_id", Big), sa.column("folded"))
_USERS = sa.table(
    "identity_users",
    sa.column("id", Guid),
    sa.column("email"),
    sa.column("full_name"),
    sa.column("folded_email"),
    sa.column("folded_full_name"),
)


def upgrade() -> None:
    op.create_table(
        "ledger_search",
        sa.Column("transfer_id", Big, autoincrement=False, nullable=False),
        sa.Column("folded", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("transfer_id", name=op.f("pk_ledger_search")),
        sqlite_strict=True,
    )
    for page in _pages(_TRANSFERS):
        rows = [
            {"transfer_id": row.id, "folded": search_text(row.description, row.reference)}
            for row in page
            if row.description or row.reference
        ]
        if rows:
            op.bulk_insert(_SEARCH, rows)
    protect("ledger_search")
    op.add_column(
        "identity_users",
        sa.Column("folded_email", sa.Text(), server_default=sa.text("''"), nullable=False),
    )
    op.add_column("identity_users", sa.Column("folded_full_name", sa.Text(), nullable=True))
    fold = (
        _USERS.update()
        .where(_USERS.c.id == sa.bindparam("of_user"))
        .values(folded_email=sa.bindparam("by_email"), folded_full_name=sa.bindparam("by_name"))
    )
    for page in _pages(_USERS):
        op.get_bind().execute(
            fold,
            [
                {
                    "of_user": row.id,
                    "by_email": search_text(row.email),
                    "by_name": None if row.full_name is None else search_text(row.full_name),
                }
                for row in page
            ],
        )


def downgrade() -> None:
    unprotect("ledger_search")
    op.drop_column("identity_users", "folded_full_name")
    op.drop_column("identity_users", "folded_email")
    op.drop_table("ledger_search")


def _pages(table: Any) -> Iterator[list[Any]]:
    """All rows by their ids, so many at a time."""
    statement = sa.select(*[column for column in table.c if not column.name.startswith("folded")])
    statement = statement.order_by(table.c.id).limit(PAGE)
    after = None
    while True:
        more = statement if after is None else statement.where(table.c.id > after)
        rows = list(op.get_bind().execute(more))
        if rows:
            yield rows
            after = rows[-1].id
        if len(rows) < PAGE:
            return
