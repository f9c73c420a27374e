"""Who has had their factors removed by a letter."""

import sqlalchemy as sa
from alembic import op

from guilder.db.base import Big

revision = "20261128_factors_given_up"
down_revision = "20261128_email_change_numbers"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("identity_users", sa.Column("factors_given_up_at", Big, nullable=True))


def downgrade() -> None:
    op.drop_column("identity_users", "factors_given_up_at")
