"""Compare addresses by A-labels and case: the keys of the users that there are."""

import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

from guilder.db.base import Guid
from guilder.domains.identity.rules.users import email_key

revision = "20261128_email_keys"
down_revision = "20261128_fold_searches"
branch_labels = None
depends_on = None

PAGE = 5_000

_USERS = sa.table(
    "identity_users", sa.column("id", Guid), sa.column("email"), sa.column("email_key")
)


def upgrade() -> None:
    """No two keys become one: the new ones tell apart all that the old ones did."""
    _renew(email_key)


def downgrade() -> None:
    """Fails where two users have addresses that were one before."""
    _renew(lambda email: unicodedata.normalize("NFKC", email).casefold())


def _renew(key_of: Callable[[str], str]) -> None:
    change = (
        _USERS.update()
        .where(_USERS.c.id == sa.bindparam("of_user"))
        .values(email_key=sa.bindparam("new_key"))
    )
    for page in _pages():
        changed = [
            {"of_user": row.id, "new_key": key}
            for row in page
            if (key := key_of(row.email)) != row.email_key
        ]
        if changed:
            op.get_bind().execute(change, changed)


def _pages() -> Iterator[list[Any]]:
    """All users by their ids, so many at a time."""
    statement = sa.select(_USERS).order_by(_USERS.c.id).limit(PAGE)
    after = None
    while True:
        more = statement if after is None else statement.where(_USERS.c.id > after)
        rows = list(op.get_bind().execute(more))
        if rows:
            yield rows
            after = rows[-1].id
        if len(rows) < PAGE:
            return
