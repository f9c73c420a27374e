"""Chain the audit trail: numbers without gaps, a hash a row, a head, sessions and details.

Rows that are there already are numbered anew in their order and chained, so that the trail can be
verified from its first row. What befell them before this migration nobody can tell any more.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

from guilder.db.application_role import for_the_application
from guilder.db.base import Big, Guid, Small

revision = "20261122_audit_chain"
down_revision = "20261122_factors"
branch_labels = None
depends_on = None

OLD = (
    "at", "attempt_id", "action", "phase", "actor", "subject", "code", "request_id", "ip_address",
)  # fmt: skip
NAMES = ("id", *OLD)
COVERED = (
    "at", "attempt_id", "action", "phase", "actor", "session_id", "subject", "code",
    "request_id", "ip_address", "detail",
)  # fmt: skip
PAGE = 5_000
HAS_SUBJECT = sa.text("subject IS NOT NULL")
FAILED = sa.text("phase = 'failed'")

_NEW = sa.table(
    "audit_events",
    *[sa.column(name) for name in ("id", *COVERED, "chain") if not name.endswith("_id")],
    sa.column("attempt_id", Guid),
    sa.column("session_id", Guid),
    sa.column("request_id"),
)
_BEFORE = sa.table(
    "audit_events_before",
    *[sa.column(name) for name in ("id", *OLD) if name != "attempt_id"],
    sa.column("attempt_id", Guid),
)
_HEAD = sa.table("audit_head", *[sa.column(name) for name in ("lane", "last_id", "chain")])


def upgrade() -> None:
    op.drop_index(op.f("ix_audit_events_attempt_id"), "audit_events")
    _set_aside()
    _new_tables()
    number, chain = 0, bytes(32)
    for page in _pages(_BEFORE):
        rows = []
        for row in page:
            number += 1
            values = {**row, "session_id": None, "detail": None, "id": number}
            chain = _link(chain, values)
            rows.append({**values, "chain": chain})
        op.bulk_insert(_NEW, rows)
    op.execute(_HEAD.insert().values(lane=0, last_id=number, chain=chain))
    op.drop_table("audit_events_before")
    _indexes()
    _protect()
    if _sqlite():
        op.execute(
            "CREATE TRIGGER audit_events_moves_head AFTER INSERT ON audit_events "
            "BEGIN UPDATE audit_head SET last_id = NEW.id, chain = NEW.chain; END"
        )
    _grant("REVOKE INSERT, DELETE, UPDATE ON audit_head FROM guilder_app")
    _grant("GRANT UPDATE (last_id, chain) ON audit_head TO guilder_app")


def downgrade() -> None:
    """The rows stay, without what only the chain had."""
    for name in ("attempt_id", "at_id", "actor_at_id", "action_at_id", "subject_at_id", "failed"):
        op.drop_index(op.f(f"ix_audit_events_{name}"), "audit_events")
    _set_aside()
    _old_table()
    op.execute(_NEW.insert().from_select(NAMES, sa.select(*[_BEFORE.c[n] for n in NAMES])))
    if not _sqlite():
        op.execute(
            "SELECT setval(pg_get_serial_sequence('audit_events', 'id'), max(id)) FROM audit_events"
        )
    op.drop_table("audit_events_before")
    op.drop_table("audit_head")
    op.create_index(
        op.f("ix_audit_events_attempt_id"), "audit_events", ["attempt_id"], unique=False
    )
    _protect()


def _set_aside() -> None:
    """Make room for a table of the same name."""
    op.rename_table("audit_events", "audit_events_before")
    if not _sqlite():
        op.execute(  # its primary key and, from PostgreSQL 18 on, its NOT NULLs
            "DO $$ DECLARE one record; BEGIN FOR one IN SELECT conname FROM pg_constraint "
            "WHERE conrelid = 'audit_events_before'::regclass LOOP "
            "EXECUTE format('ALTER TABLE audit_events_before RENAME CONSTRAINT %I TO %I', "
            "one.conname, 'before_' || one.conname); END LOOP; END $$"
        )


def _new_tables() -> None:
    op.create_table(
        "audit_events",
        sa.Column("id", Big, autoincrement=False, nullable=False),
        sa.Column("at", Big, nullable=False),
        sa.Column("attempt_id", Guid, nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("session_id", Guid, nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("ip_address", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("chain", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint(
            "phase IN ('attempted', 'succeeded', 'failed')", name=op.f("ck_audit_events_phase")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
        sqlite_strict=True,
    )
    op.create_table(
        "audit_head",
        sa.Column("lane", Small, autoincrement=False, nullable=False),
        sa.Column("last_id", Big, nullable=False),
        sa.Column("chain", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("lane = 0", name=op.f("ck_audit_head_single")),
        sa.PrimaryKeyConstraint("lane", name=op.f("pk_audit_head")),
        sqlite_strict=True,
    )


def _old_table() -> None:
    op.create_table(
        "audit_events",
        sa.Column("id", Big, sa.Identity(always=False), nullable=False),
        sa.Column("at", Big, nullable=False),
        sa.Column("attempt_id", Guid, nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("ip_address", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
        sqlite_strict=True,
    )


def _indexes() -> None:
    for name, columns, where in (
        ("attempt_id", ["attempt_id"], None),
        ("at_id", ["at", "id"], None),
        ("actor_at_id", ["actor", "at", "id"], None),
        ("action_at_id", ["action", "at", "id"], None),
        ("subject_at_id", ["subject", "at", "id"], HAS_SUBJECT),
        ("failed", ["at", "id"], FAILED),
    ):
        op.create_index(
            op.f(f"ix_audit_events_{name}"),
            "audit_events",
            columns,
            unique=False,
            sqlite_where=where,
            postgresql_where=where,
        )


def _protect() -> None:
    """What the new table needs to refuse UPDATE, DELETE and TRUNCATE as the one before did."""
    if _sqlite():
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_events_no_{verb.lower()} BEFORE {verb} ON audit_events "
                "BEGIN SELECT RAISE(ABORT, 'audit_events: history is final'); END"
            )
        return
    op.execute(
        "CREATE TRIGGER audit_events_is_final BEFORE UPDATE OR DELETE ON audit_events "
        "FOR EACH ROW EXECUTE FUNCTION guilder_history_is_final()"
    )
    op.execute(
        "CREATE TRIGGER audit_events_no_truncate BEFORE TRUNCATE ON audit_events "
        "FOR EACH STATEMENT EXECUTE FUNCTION guilder_history_is_final()"
    )
    _grant("REVOKE UPDATE, DELETE ON audit_events FROM guilder_app")


def _grant(statement: str) -> None:
    if not _sqlite():
        for_the_application(statement)


def _pages(table: Any) -> Iterator[list[Any]]:
    """All rows by their ids, so many at a time."""
    after = -(1 << 63)
    while True:
        statement = sa.select(table).where(table.c.id > after).order_by(table.c.id).limit(PAGE)
        rows = list(op.get_bind().execute(statement).mappings())
        if rows:
            yield rows
            after = rows[-1]["id"]
        if len(rows) < PAGE:
            return


def _link(previous: bytes, row: dict[str, Any]) -> bytes:
    """As ``guilder.db.audit`` hashes rows of this shape; written out, for it is for ever."""
    values = [str(row[n]) if n == "attempt_id" else row[n] for n in COVERED]
    content = json.dumps(values, separators=(",", ":")).encode()
    return hashlib.sha256(previous + row["id"].to_bytes(8) + content).digest()


def _sqlite() -> bool:
    return bool(op.get_bind().dialect.name == "sqlite")
