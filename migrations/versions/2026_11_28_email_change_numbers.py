"""Which of a user's changes of address was made later is told by numbers."""

import sqlalchemy as sa
from alembic import op

from guilder.db.base import Big

revision = "20261128_email_change_numbers"
down_revision = "20261128_email_change_sessions"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("identity_email_changes", sa.Column("number", Big, nullable=True))


def downgrade() -> None:
    op.drop_column("identity_email_changes", "number")
