"""The application's role may not change columns that never change, nor delete rows that stay."""

from alembic import op

from guilder.db.application_role import for_the_application

revision = "20261128_what_never_changes"
down_revision = "20261128_ceilings"
branch_labels = None
depends_on = None

CHANGING = {
    "accounts": ("name", "status"),
    "idempotency_keys": (),
    "identity_passkeys": ("name", "sign_count", "last_used_at"),
    "identity_recovery_codes": (),
    "identity_rotations": (),
    "ledger_holds": ("remaining", "state"),
    "outbox": (),
}
STAY = ("accounts", "identity_rotations", "ledger_holds")


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        return
    for table, columns in CHANGING.items():
        for_the_application(f"REVOKE UPDATE ON {table} FROM guilder_app")
        if columns:
            for_the_application(f"GRANT UPDATE ({', '.join(columns)}) ON {table} TO guilder_app")
    for table in STAY:
        for_the_application(f"REVOKE DELETE ON {table} FROM guilder_app")


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        return
    for table in CHANGING:
        for_the_application(f"GRANT UPDATE, DELETE ON {table} TO guilder_app")
