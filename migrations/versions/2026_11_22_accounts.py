"""Whose the accounts are."""

import sqlalchemy as sa
from alembic import op

from guilder.db.base import Big, Guid

revision = "20261122_accounts"
down_revision = "20261122_identity"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", Guid, nullable=False),
        sa.Column("ledger_number", Big, nullable=False),
        sa.Column("owner_user_id", Guid, nullable=False),
        sa.Column("product_code", sa.Text(), nullable=False),
        sa.Column("account_number", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created_at", Big, nullable=False),
        sa.ForeignKeyConstraint(
            ["ledger_number"], ["ledger_accounts.id"], name=op.f("fk_accounts_ledger_number")
        ),
        sa.ForeignKeyConstraint(
            ["owner_user_id"], ["identity_users.id"], name=op.f("fk_accounts_owner_user_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("account_number", name=op.f("uq_accounts_account_number")),
        sa.UniqueConstraint("ledger_number", name=op.f("uq_accounts_ledger_number")),
        sqlite_strict=True,
    )
    op.create_index(
        op.f("ix_accounts_owner_user_id_ledger_number"),
        "accounts",
        ["owner_user_id", "ledger_number"],
        unique=False,
    )


def downgrade() -> None:
    op.drop_table("accounts")
