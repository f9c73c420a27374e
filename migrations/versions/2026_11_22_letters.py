"""Letters that prove an address or let a new password be set."""

import sqlalchemy as sa
from alembic import op

from guilder.db.base import Big, Guid

revision = "20261122_letters"
down_revision = "20261122_deliveries"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "identity_letters",
        sa.Column("id", Guid, nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("user_id", Guid, nullable=True),
        sa.Column("hash", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", Big, nullable=False),
        sa.Column("expires_at", Big, nullable=False),
        sa.Column("sent_at", Big, nullable=True),
        sa.Column("used_at", Big, nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["identity_users.id"],
            name=op.f("fk_identity_letters_user_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_letters")),
        sa.UniqueConstraint("hash", name=op.f("uq_identity_letters_hash")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_identity_letters_expires_at"), "identity_letters", ["expires_at"])
    op.create_index(
        op.f("ix_identity_letters_user_id_purpose_sent_at"),
        "identity_letters",
        ["user_id", "purpose", "sent_at"],
    )


def downgrade() -> None:
    op.drop_table("identity_letters")
