"""Changes of addresses, closed logins, and sessions that have proved a second factor."""

import sqlalchemy as sa
from alembic import op

from guilder.db.base import Big, Bytes, Guid

revision = "20261128_identity_logins"
down_revision = "20261128_identity_devices"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "identity_email_changes",
        sa.Column("letter_id", Guid, nullable=False),
        sa.Column("user_id", Guid, nullable=False),
        sa.Column("old_email", sa.Text(), nullable=False),
        sa.Column("new_email", sa.Text(), nullable=False),
        sa.Column("created_at", Big, nullable=False),
        sa.Column("undo_letter_id", Guid, nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["identity_users.id"], name=op.f("fk_identity_email_changes_user_id")
        ),
        sa.PrimaryKeyConstraint("letter_id", name=op.f("pk_identity_email_changes")),
        sa.UniqueConstraint(
            "undo_letter_id", name=op.f("uq_identity_email_changes_undo_letter_id")
        ),
        sqlite_strict=True,
    )
    op.create_index(
        op.f("ix_identity_email_changes_user_id_created_at"),
        "identity_email_changes",
        ["user_id", "created_at"],
    )
    op.add_column("identity_users", sa.Column("closed_at", Big, nullable=True))
    op.add_column("identity_sessions", sa.Column("factor_at", Big, nullable=True))
    op.add_column("identity_letters", sa.Column("mailbox", Bytes, nullable=True))
    op.create_index(
        op.f("ix_identity_letters_mailbox_sent_at"), "identity_letters", ["mailbox", "sent_at"]
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_identity_letters_mailbox_sent_at"), table_name="identity_letters")
    op.drop_column("identity_letters", "mailbox")
    op.drop_column("identity_sessions", "factor_at")
    op.drop_column("identity_users", "closed_at")
    op.drop_index(
        op.f("ix_identity_email_changes_user_id_created_at"), table_name="identity_email_changes"
    )
    op.drop_table("identity_email_changes")
