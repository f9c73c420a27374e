"""The audit trail is keyed: each row names the key under which it is hashed, from now on."""

import sqlalchemy as sa
from alembic import op

revision = "20261128_keyed_trail"
down_revision = "20261128_what_never_changes"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("audit_events", sa.Column("key_id", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    op.drop_column("audit_events", "key_id")
