"""Changes of addresses are made only while the session that has asked for them is open."""

import sqlalchemy as sa
from alembic import op

from guilder.db.base import Guid

revision = "20261128_email_change_sessions"
down_revision = "20261128_row_digests"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("identity_email_changes", sa.Column("session_id", Guid, nullable=True))


def downgrade() -> None:
    op.drop_column("identity_email_changes", "session_id")
