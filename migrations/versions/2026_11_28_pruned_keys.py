"""Answers under idempotency keys are found by their age, to be deleted."""

from alembic import op

revision = "20261128_pruned_keys"
down_revision = "20261128_repeated_sign_ups"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])


def downgrade() -> None:
    op.drop_index("ix_idempotency_keys_created_at", "idempotency_keys")
