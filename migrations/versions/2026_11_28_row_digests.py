"""The audit trail tells, in the row of an outcome, the digests of the rows that were changed.

Rows that are there already are taken stock of when the bank next starts.
"""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "20261128_row_digests"
down_revision = "20261128_pruned_keys"
branch_labels = None
depends_on = None

_HEAD = sa.table("audit_head", sa.column("digest_key", sa.LargeBinary))


def upgrade() -> None:
    op.add_column("audit_events", sa.Column("digests", sa.Text(), nullable=True))
    op.add_column("audit_head", sa.Column("digest_key", sa.LargeBinary(), nullable=True))
    op.execute(_HEAD.update().values(digest_key=secrets.token_bytes(32)))


def downgrade() -> None:
    op.drop_column("audit_head", "digest_key")
    op.drop_column("audit_events", "digests")
