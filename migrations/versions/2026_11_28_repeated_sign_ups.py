"""Sign-ups with an address that has a login already."""

import sqlalchemy as sa
from alembic import op

from guilder.db.base import Big

revision = "20261128_repeated_sign_ups"
down_revision = "20261128_identity_logins"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "identity_repeated_sign_ups",
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", Big, nullable=False),
        sa.PrimaryKeyConstraint("mac", name=op.f("pk_identity_repeated_sign_ups")),
        sqlite_strict=True,
    )
    op.create_index(
        op.f("ix_identity_repeated_sign_ups_created_at"),
        "identity_repeated_sign_ups",
        ["created_at"],
        unique=False,
    )


def downgrade() -> None:
    op.drop_index(
        op.f("ix_identity_repeated_sign_ups_created_at"), table_name="identity_repeated_sign_ups"
    )
    op.drop_table("identity_repeated_sign_ups")
