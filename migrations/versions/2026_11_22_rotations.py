"""Rotations after a breach, the version a session was opened with, and where it was opened."""

import sqlalchemy as sa
from alembic import op

from guilder.db.base import Big, Guid

revision = "20261122_rotations"
down_revision = "20261122_letters"
branch_labels = None
depends_on = None

_INDEXES = (
    ("identity_sessions", "ended_at"),
    ("identity_sessions", "expires_at"),
    ("identity_failures", "last_at"),
)


def upgrade() -> None:
    op.create_table(
        "identity_rotations",
        sa.Column("version", Big, autoincrement=False, nullable=False),
        sa.Column("user_id", Guid, nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("created_at", Big, nullable=False),
        sa.Column("effective_at", Big, nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["identity_users.id"], name=op.f("fk_identity_rotations_user_id")
        ),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_identity_rotations")),
        sqlite_strict=True,
    )
    op.create_index(
        op.f("ix_identity_rotations_user_id_version"), "identity_rotations", ["user_id", "version"]
    )
    op.add_column(
        "identity_sessions",
        sa.Column("version", Big, nullable=False, server_default=sa.text("1")),
    )
    op.add_column("identity_sessions", sa.Column("location", sa.Text(), nullable=True))
    for table, column in _INDEXES:
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column])


def downgrade() -> None:
    for table, column in _INDEXES:
        op.drop_index(op.f(f"ix_{table}_{column}"), table)
    op.drop_column("identity_sessions", "location")
    op.drop_column("identity_sessions", "version")
    op.drop_table("identity_rotations")
