"""Which event still has to reach which subscriber."""

import sqlalchemy as sa
from alembic import op

from guilder.db.base import Big, Guid, Small

revision = "20261122_deliveries"
down_revision = "20261122_rate_limits"
branch_labels = None
depends_on = None

PENDING = sa.text("state = 'pending'")
DEAD = sa.text("state = 'dead'")


def upgrade() -> None:
    op.create_table(
        "outbox_deliveries",
        sa.Column("event_id", Big, autoincrement=False, nullable=False),
        sa.Column("subscriber", sa.Text(), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("created_at", Big, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", Small, nullable=False),
        sa.Column("due_at", Big, nullable=False),
        sa.Column("claim", Guid, nullable=True),
        sa.Column("settled_at", Big, nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('pending', 'delivered', 'dead')", name=op.f("ck_outbox_deliveries_state")
        ),
        sa.ForeignKeyConstraint(
            ["event_id"], ["outbox.id"], name=op.f("fk_outbox_deliveries_event_id")
        ),
        sa.PrimaryKeyConstraint("event_id", "subscriber", name=op.f("pk_outbox_deliveries")),
        sqlite_strict=True,
    )
    for name, columns, where in (
        ("ix_outbox_deliveries_due", ["subscriber", "due_at"], PENDING),
        ("ix_outbox_deliveries_streams", ["subscriber", "stream", "event_id"], PENDING),
        ("ix_outbox_deliveries_dead", ["subscriber"], DEAD),
    ):
        op.create_index(
            name,
            "outbox_deliveries",
            columns,
            unique=False,
            sqlite_where=where,
            postgresql_where=where,
        )


def downgrade() -> None:
    op.drop_table("outbox_deliveries")
