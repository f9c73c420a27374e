"""The row that health writes."""

import sqlalchemy as sa
from alembic import op

from guilder.db.base import Big, Small

revision = "20261128_health_row"
down_revision = "20261122_audit_chain"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "health_row",
        sa.Column("id", Small, autoincrement=False, nullable=False),
        sa.Column("written_at", Big, nullable=False),
        sa.CheckConstraint("id = 0", name=op.f("ck_health_row_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_health_row")),
        sqlite_strict=True,
    )
    op.execute("INSERT INTO health_row (id, written_at) VALUES (0, 0)")


def downgrade() -> None:
    op.drop_table("health_row")
