"""Refresh tokens in a table of their own, sessions that can end, and failed logins."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from guilder.db.base import Big, Guid

revision = "20261122_sessions"
down_revision = "20261122_accounts"
branch_labels = None
depends_on = None

_SESSIONS = sa.table(
    "identity_sessions",
    sa.column("id", Guid),
    sa.column("refresh_hash", sa.LargeBinary()),
    sa.column("created_at", Big),
    sa.column("last_activity_at", Big),
    sa.column("generation", Big),
)
_TOKENS = sa.table(
    "identity_refresh_tokens",
    sa.column("hash", sa.LargeBinary()),
    sa.column("session_id", Guid),
    sa.column("generation", Big),
    sa.column("created_at", Big),
    sa.column("used_at", Big),
)
_STRICT = {"sqlite_strict": True}
_INDEXES = (("user_id", "id"), ("user_id", "ip_address", "device_info"))


def upgrade() -> None:
    rows = _rows(sa.select(_SESSIONS.c.id, _SESSIONS.c.refresh_hash, _SESSIONS.c.created_at))
    with op.batch_alter_table("identity_sessions", table_kwargs=_STRICT) as table:
        table.drop_constraint("uq_identity_sessions_refresh_hash", type_="unique")
        table.drop_column("refresh_hash")
        table.add_column(sa.Column("last_activity_at", Big, nullable=True))
        table.add_column(sa.Column("generation", Big, nullable=True))
        table.add_column(sa.Column("ended_at", Big, nullable=True))
        table.add_column(sa.Column("ending", sa.Text(), nullable=True))
    op.execute(_SESSIONS.update().values(last_activity_at=_SESSIONS.c.created_at, generation=1))
    with op.batch_alter_table("identity_sessions", table_kwargs=_STRICT) as table:
        table.alter_column("last_activity_at", existing_type=Big, nullable=False)
        table.alter_column("generation", existing_type=Big, nullable=False)
    op.create_table(
        "identity_refresh_tokens",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("session_id", Guid, nullable=False),
        sa.Column("generation", Big, nullable=False),
        sa.Column("created_at", Big, nullable=False),
        sa.Column("used_at", Big, nullable=True),
        sa.Column("salt", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["identity_sessions.id"],
            name=op.f("fk_identity_refresh_tokens_session_id"),
        ),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_identity_refresh_tokens")),
        sqlite_strict=True,
    )
    op.create_index(
        op.f("ix_identity_refresh_tokens_session_id"), "identity_refresh_tokens", ["session_id"]
    )
    op.drop_index(op.f("ix_identity_sessions_user_id"), "identity_sessions")
    for columns in _INDEXES:
        op.create_index(op.f(_index(columns)), "identity_sessions", list(columns))
    op.create_table(
        "identity_failures",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("in_a_row", Big, nullable=False),
        sa.Column("last_at", Big, nullable=False),
        sa.Column("locked_until", Big, nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_identity_failures")),
        sqlite_strict=True,
    )
    if rows:
        op.bulk_insert(
            _TOKENS,
            [
                {
                    "hash": row.refresh_hash,
                    "session_id": row.id,
                    "generation": 1,
                    "created_at": row.created_at,
                }
                for row in rows
            ],
        )


def downgrade() -> None:
    """Each session keeps the token that is good now; one that has none goes."""
    rows = _rows(sa.select(_TOKENS.c.session_id, _TOKENS.c.hash).where(_TOKENS.c.used_at.is_(None)))
    op.drop_table("identity_failures")
    op.drop_table("identity_refresh_tokens")
    for columns in _INDEXES:
        op.drop_index(op.f(_index(columns)), "identity_sessions")
    op.create_index(op.f("ix_identity_sessions_user_id"), "identity_sessions", ["user_id"])
    with op.batch_alter_table("identity_sessions", table_kwargs=_STRICT) as table:
        for name in ("ending", "ended_at", "generation", "last_activity_at"):
            table.drop_column(name)
        table.add_column(sa.Column("refresh_hash", sa.LargeBinary(), nullable=True))
    for row in rows:
        op.execute(
            _SESSIONS.update().where(_SESSIONS.c.id == row.session_id).values(refresh_hash=row.hash)
        )
    op.execute(_SESSIONS.delete().where(_SESSIONS.c.refresh_hash.is_(None)))
    with op.batch_alter_table("identity_sessions", table_kwargs=_STRICT) as table:
        table.alter_column("refresh_hash", existing_type=sa.LargeBinary(), nullable=False)
        table.create_unique_constraint("uq_identity_sessions_refresh_hash", ["refresh_hash"])


def _index(columns: tuple[str, ...]) -> str:
    return f"ix_identity_sessions_{'_'.join(columns)}"


def _rows(statement: Any) -> list[Any]:
    return list(op.get_bind().execute(statement).all())
