"""The highest balance of customers' accounts: what every reader of JSON holds exactly."""

import sqlalchemy as sa
from alembic import op

revision = "20261128_ceilings"
down_revision = "20261128_closed_instants"
branch_labels = None
depends_on = None

_CEILING = 2**53 - 1
_BALANCES = sa.table("ledger_balances", sa.column("account_id"), sa.column("ceiling"))
_ACCOUNTS = sa.table("accounts", sa.column("ledger_number"))
_OF_CUSTOMERS = _BALANCES.c.account_id.in_(sa.select(_ACCOUNTS.c.ledger_number))


def upgrade() -> None:
    op.execute(
        _BALANCES.update()
        .where(_OF_CUSTOMERS, _BALANCES.c.ceiling.is_(None))
        .values(ceiling=sa.literal(_CEILING, sa.BigInteger))
    )


def downgrade() -> None:
    op.execute(
        _BALANCES.update()
        .where(_OF_CUSTOMERS, _BALANCES.c.ceiling == sa.literal(_CEILING, sa.BigInteger))
        .values(ceiling=sa.null())
    )
