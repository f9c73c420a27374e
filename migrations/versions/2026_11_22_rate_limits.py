"""Token buckets that several processes share."""

import sqlalchemy as sa
from alembic import op

from guilder.db.base import Big, Small

revision = "20261122_rate_limits"
down_revision = "20261122_sessions"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rate_limits",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("full_at", Big, nullable=False),
        sa.Column("allowed", Small, nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_rate_limits")),
        sqlite_strict=True,
    )


def downgrade() -> None:
    op.drop_table("rate_limits")
