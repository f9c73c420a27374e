"""Users and their sessions."""

import sqlalchemy as sa
from alembic import op

from guilder.db.base import Big, Flagged, Guid

revision = "20261122_identity"
down_revision = "20261122_ledger"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "identity_users",
        sa.Column("id", Guid, nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("email_key", sa.Text(), nullable=False),
        sa.Column("full_name", sa.Text(), nullable=True),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("is_active", Flagged, nullable=False),
        sa.Column("email_verified", Flagged, nullable=False),
        sa.Column("created_at", Big, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_users")),
        sa.UniqueConstraint("email_key", name=op.f("uq_identity_users_email_key")),
        sqlite_strict=True,
    )
    op.create_table(
        "identity_sessions",
        sa.Column("id", Guid, nullable=False),
        sa.Column("user_id", Guid, nullable=False),
        sa.Column("refresh_hash", sa.LargeBinary(), nullable=False),
        sa.Column("device_info", sa.Text(), nullable=True),
        sa.Column("ip_address", sa.Text(), nullable=False),
        sa.Column("created_at", Big, nullable=False),
        sa.Column("expires_at", Big, nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["identity_users.id"], name=op.f("fk_identity_sessions_user_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_sessions")),
        sa.UniqueConstraint("refresh_hash", name=op.f("uq_identity_sessions_refresh_hash")),
        sqlite_strict=True,
    )
    op.create_index(
        op.f("ix_identity_sessions_user_id"), "identity_sessions", ["user_id"], unique=False
    )


def downgrade() -> None:
    op.drop_table("identity_sessions")
    op.drop_table("identity_users")
