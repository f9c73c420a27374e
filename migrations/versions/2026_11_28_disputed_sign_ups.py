"""A login knows when two have signed up with its address before that was proved."""

import sqlalchemy as sa
from alembic import op

from guilder.db.base import Big

revision = "20261128_disputed_sign_ups"
down_revision = "20261128_factors_given_up"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("identity_users", sa.Column("disputed_at", Big, nullable=True))


def downgrade() -> None:
    op.drop_column("identity_users", "disputed_at")
