"""Second factors, and when a session was last proved to be its owner's."""

import sqlalchemy as sa
from alembic import op

from guilder.db.base import Big, Guid

revision = "20261122_factors"
down_revision = "20261122_rotations"
branch_labels = None
depends_on = None

_STRICT = {"sqlite_strict": True}


def upgrade() -> None:
    op.add_column("identity_sessions", sa.Column("proved_at", Big, nullable=True))
    op.create_table(
        "identity_totps",
        sa.Column("user_id", Guid, nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", Big, nullable=False),
        sa.Column("confirmed_at", Big, nullable=True),
        sa.Column("last_step", Big, nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["identity_users.id"], name=op.f("fk_identity_totps_user_id")
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_identity_totps")),
        **_STRICT,
    )
    op.create_table(
        "identity_recovery_codes",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", Guid, nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["identity_users.id"], name=op.f("fk_identity_recovery_codes_user_id")
        ),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_identity_recovery_codes")),
        **_STRICT,
    )
    op.create_index(
        op.f("ix_identity_recovery_codes_user_id"), "identity_recovery_codes", ["user_id"]
    )
    op.create_table(
        "identity_passkeys",
        sa.Column("id", Guid, nullable=False),
        sa.Column("user_id", Guid, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("credential_id", sa.LargeBinary(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("sign_count", Big, nullable=False),
        sa.Column("created_at", Big, nullable=False),
        sa.Column("last_used_at", Big, nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["identity_users.id"], name=op.f("fk_identity_passkeys_user_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_passkeys")),
        sa.UniqueConstraint("credential_id", name=op.f("uq_identity_passkeys_credential_id")),
        **_STRICT,
    )
    op.create_index(op.f("ix_identity_passkeys_user_id_id"), "identity_passkeys", ["user_id", "id"])
    op.create_table(
        "identity_used_challenges",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("ends_at", Big, nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_identity_used_challenges")),
        **_STRICT,
    )
    op.create_index(
        op.f("ix_identity_used_challenges_ends_at"), "identity_used_challenges", ["ends_at"]
    )


def downgrade() -> None:
    op.drop_table("identity_used_challenges")
    op.drop_table("identity_passkeys")
    op.drop_table("identity_recovery_codes")
    op.drop_table("identity_totps")
    op.drop_column("identity_sessions", "proved_at")
