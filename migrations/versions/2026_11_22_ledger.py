"""The ledger, the outbox, the audit trail and the idempotency keys."""

import secrets

import sqlalchemy as sa
from alembic import op

from guilder.db.application_role import make_application_role
from guilder.db.base import Big, Guid, Small

revision = "20261122_ledger"
down_revision = None
branch_labels = None
depends_on = None

IMMUTABLE = ("ledger_transfers", "ledger_entries", "ledger_idempotency", "ledger_batches")
APPEND_ONLY = ("audit_events",)
TABLES = (
    "audit_events",
    "idempotency_keys",
    "ledger_accounts",
    "ledger_balances",
    "ledger_batches",
    "ledger_entries",
    "ledger_head",
    "ledger_holds",
    "ledger_idempotency",
    "ledger_limits",
    "ledger_transfers",
    "outbox",
)
PARTITION_SIZE = 1 << 28
PARTITIONS = 16
PARTS = (*[f"ledger_transfers_p{index:02}" for index in range(PARTITIONS)], "ledger_transfers_rest")


def upgrade() -> None:
    _tables()
    _head()
    if op.get_bind().dialect.name == "sqlite":
        _sqlite_triggers()
    else:
        _partitions()
        _postgres_triggers()
        _role()


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION guilder_history_is_final()")


def _tables() -> None:
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
    op.create_index(
        op.f("ix_audit_events_attempt_id"), "audit_events", ["attempt_id"], unique=False
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("status", Small, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", Big, nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_idempotency_keys")),
        sqlite_strict=True,
    )
    op.create_table(
        "ledger_accounts",
        sa.Column("id", Big, sa.Identity(always=False), nullable=False),
        sa.Column("public_id", Guid, nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("opened_at", Big, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_accounts")),
        sa.UniqueConstraint("code", name=op.f("uq_ledger_accounts_code")),
        sa.UniqueConstraint("public_id", name=op.f("uq_ledger_accounts_public_id")),
        sqlite_strict=True,
    )
    op.create_table(
        "ledger_balances",
        sa.Column("account_id", Big, autoincrement=False, nullable=False),
        sa.Column("debits", Big, nullable=False),
        sa.Column("credits", Big, nullable=False),
        sa.Column("debits_pending", Big, nullable=False),
        sa.Column("credits_pending", Big, nullable=False),
        sa.Column("version", Big, nullable=False),
        sa.Column("floor", Big, nullable=True),
        sa.Column("ceiling", Big, nullable=True),
        sa.Column("flags", Small, nullable=False),
        sa.Column("normal", Small, nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "debits >= 0 AND credits >= 0 AND debits_pending >= 0 AND credits_pending >= 0",
            name=op.f("ck_ledger_balances_counters"),
        ),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_ledger_balances")),
        postgresql_with={"fillfactor": 50},
        sqlite_strict=True,
    )
    op.create_table(
        "ledger_batches",
        sa.Column("id", Big, autoincrement=False, nullable=False),
        sa.Column("first_no", Big, nullable=False),
        sa.Column("last_no", Big, nullable=False),
        sa.Column("first_booked_at", Big, nullable=False),
        sa.Column("last_booked_at", Big, nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("chain", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_batches")),
        sqlite_strict=True,
    )
    op.create_index(
        op.f("ix_ledger_batches_first_booked_at"),
        "ledger_batches",
        ["first_booked_at"],
        unique=False,
    )
    op.create_table(
        "ledger_entries",
        sa.Column("account_id", Big, autoincrement=False, nullable=False),
        sa.Column("transfer_id", Big, autoincrement=False, nullable=False),
        sa.Column("delta", Big, nullable=False),
        sa.Column("balance_after", Big, nullable=False),
        sa.Column("version", Big, nullable=False),
        sa.Column("value_on", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("account_id", "transfer_id", name=op.f("pk_ledger_entries")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_ledger_entries_account_id_value_on",
        "ledger_entries",
        ["account_id", "value_on"],
        unique=False,
        sqlite_where=sa.text("value_on IS NOT NULL"),
        postgresql_where=sa.text("value_on IS NOT NULL"),
    )
    op.create_table(
        "ledger_head",
        sa.Column("lane", Small, autoincrement=False, nullable=False),
        sa.Column("last_no", Big, nullable=False),
        sa.Column("last_batch", Big, nullable=False),
        sa.Column("clock_us", Big, nullable=False),
        sa.Column("clock_offset_us", Big, nullable=False),
        sa.Column("chain", sa.LargeBinary(), nullable=False),
        sa.Column("id_key", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("lane", name=op.f("pk_ledger_head")),
        sqlite_strict=True,
    )
    op.create_table(
        "ledger_holds",
        sa.Column("id", Big, autoincrement=False, nullable=False),
        sa.Column("remaining", Big, nullable=False),
        sa.Column("state", Small, nullable=False),
        sa.Column("expires_at", Big, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_holds")),
        sqlite_strict=True,
    )
    op.create_index(
        "ix_ledger_holds_expires_at",
        "ledger_holds",
        ["expires_at"],
        unique=False,
        sqlite_where=sa.text("state = 0 AND expires_at IS NOT NULL"),
        postgresql_where=sa.text("state = 0 AND expires_at IS NOT NULL"),
    )
    op.create_table(
        "ledger_idempotency",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("transfer_id", Big, nullable=True),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_ledger_idempotency")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "ledger_limits",
        sa.Column("account_id", Big, autoincrement=False, nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("max_amount", Big, nullable=True),
        sa.Column("max_count", Big, nullable=True),
        sa.Column("window_start", sa.Integer(), nullable=False),
        sa.Column("used_amount", Big, nullable=False),
        sa.Column("used_count", Big, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "period", name=op.f("pk_ledger_limits")),
        sqlite_strict=True,
    )
    op.create_table(
        "ledger_transfers",
        sa.Column("id", Big, autoincrement=False, nullable=False),
        sa.Column("kind", Small, nullable=False),
        sa.Column("debit_account", Big, nullable=False),
        sa.Column("credit_account", Big, nullable=False),
        sa.Column("amount", Big, nullable=False),
        sa.Column("booked_at", Big, nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("value_on", sa.Integer(), nullable=True),
        sa.Column("ref_id", Big, nullable=True),
        sa.Column("group_id", Big, nullable=True),
        sa.Column("created_by", Guid, nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("metadata", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "amount > 0 AND debit_account <> credit_account",
            name=op.f("ck_ledger_transfers_movement"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_transfers")),
        postgresql_partition_by="RANGE (id)",
        sqlite_strict=True,
    )
    op.create_index(
        "ix_ledger_transfers_ref_id",
        "ledger_transfers",
        ["ref_id"],
        unique=False,
        sqlite_where=sa.text("ref_id IS NOT NULL"),
        postgresql_where=sa.text("ref_id IS NOT NULL"),
    )
    op.create_table(
        "outbox",
        sa.Column("id", Big, sa.Identity(always=False), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("created_at", Big, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sqlite_strict=True,
    )


def _head() -> None:
    """One row, one lane: nothing booked yet, and the key that hides transfer numbers in ids."""
    head = sa.table(
        "ledger_head",
        *[sa.column(name) for name in ("lane", "last_no", "last_batch", "clock_us")],
        *[sa.column(name) for name in ("clock_offset_us", "chain", "id_key")],
    )
    first = dict.fromkeys(("lane", "last_no", "last_batch", "clock_us", "clock_offset_us"), 0)
    op.execute(head.insert().values(**first, chain=bytes(32), id_key=secrets.token_bytes(32)))


def _sqlite_triggers() -> None:
    for table in IMMUTABLE + APPEND_ONLY:
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table}: history is final'); END"
            )


def _partitions() -> None:
    for index in range(PARTITIONS):
        start, end = index * PARTITION_SIZE, (index + 1) * PARTITION_SIZE
        op.execute(
            f"CREATE TABLE ledger_transfers_p{index:02} PARTITION OF ledger_transfers "
            f"FOR VALUES FROM ({start}) TO ({end})"
        )
    op.execute("CREATE TABLE ledger_transfers_rest PARTITION OF ledger_transfers DEFAULT")


def _postgres_triggers() -> None:
    op.execute(
        "CREATE FUNCTION guilder_history_is_final() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '%: history is final', TG_TABLE_NAME; END $$"
    )
    for table in IMMUTABLE + APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_is_final BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION guilder_history_is_final()"
        )
    for table in (*IMMUTABLE, *APPEND_ONLY, *PARTS):
        op.execute(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION guilder_history_is_final()"
        )


def _role() -> None:
    """The role that the application steps down to. A server that allows no roles goes without."""
    make_application_role(
        [
            "GRANT USAGE ON SCHEMA public TO guilder_app",
            "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO guilder_app",
            "ALTER DEFAULT PRIVILEGES IN SCHEMA public "
            "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO guilder_app",
            "REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM guilder_app",
            "REVOKE UPDATE, DELETE ON ledger_balances, ledger_head, ledger_accounts "
            "FROM guilder_app",
            "GRANT UPDATE (debits, credits, debits_pending, credits_pending, version, floor, "
            "ceiling, flags) ON ledger_balances TO guilder_app",
            "GRANT UPDATE (last_no, last_batch, clock_us, clock_offset_us, chain) "
            "ON ledger_head TO guilder_app",
            f"REVOKE UPDATE, DELETE ON {', '.join(IMMUTABLE + APPEND_ONLY)} FROM guilder_app",
            *[f"REVOKE UPDATE, DELETE, TRUNCATE ON {part} FROM guilder_app" for part in PARTS],
        ]
    )
