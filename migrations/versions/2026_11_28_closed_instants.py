"""The instant up to which nothing is booked any more, in the ledger's head."""

import sqlalchemy as sa
from alembic import op

from guilder.db.application_role import for_the_application
from guilder.db.base import Big

revision = "20261128_closed_instants"
down_revision = "20261128_health_row"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "ledger_head", sa.Column("closed_us", Big, nullable=False, server_default=sa.text("0"))
    )
    if op.get_bind().dialect.name == "postgresql":
        for_the_application("GRANT UPDATE (closed_us) ON ledger_head TO guilder_app")


def downgrade() -> None:
    op.drop_column("ledger_head", "closed_us")
