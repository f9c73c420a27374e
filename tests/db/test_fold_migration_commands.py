"""What was written before searches were folded is found afterwards, too."""

from uuid import UUID

import pytest
from alembic.script import ScriptDirectory

from guilder.db.migrate import config, downgrade, upgrade
from tests.db import owner

REVISION = "20261128_fold_searches"
TEXTS = [("CAFÉ", None), (None, "R-1"), (None, None), ("Straße", "é"), ("", ""), ("Rent", None)]
FOLDED = [(1, "café\ncafe"), (2, "r-1"), (4, "strasse\né\nstrasse\ne"), (6, "rent")]
NAMES = ["Anna Weiß", None, "Κώστας", "İlker", "Зоя"]


def quoted(text: str | None) -> str:
    return "NULL" if text is None else f"'{text}'"


async def written(url: str) -> None:
    for number, (description, reference) in enumerate(TEXTS, 1):
        await owner.execute(
            url,
            "INSERT INTO ledger_transfers (id, kind, debit_account, credit_account, amount, "
            f"booked_at, asset, description, reference) VALUES ({number}, 1, 1, 2, 5, {number}, "
            f"'USD', {quoted(description)}, {quoted(reference)})",
        )
    for number, name in enumerate(NAMES, 1):
        await owner.execute(
            url,
            "INSERT INTO identity_users (id, email, email_key, full_name, password_hash, role, "
            f"is_active, email_verified, created_at) VALUES ('{UUID(int=number)}', "
            f"'Ünal{number}@a.test', 'ünal{number}@a.test', {quoted(name)}, 'x', 'user', "
            f"{true(url)}, {true(url)}, 1)",
        )


def true(url: str) -> str:
    return "1" if url.startswith("sqlite") else "true"


async def test_what_was_there_before_is_folded(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    migration = ScriptDirectory.from_config(config()).get_revision(REVISION)
    assert migration is not None
    assert isinstance(migration.down_revision, str)
    monkeypatch.setattr(migration.module, "PAGE", 2)
    await upgrade(empty_url, migration.down_revision)
    await written(empty_url)
    for _ in range(2):
        await upgrade(empty_url, REVISION)
        words = await owner.rows(empty_url, "SELECT * FROM ledger_search ORDER BY transfer_id")
        assert words == FOLDED
        users = await owner.rows(
            empty_url, "SELECT folded_email, folded_full_name FROM identity_users ORDER BY id"
        )
        assert [email for email, _ in users] == [
            f"ünal{n}@a.test\nunal{n}@a.test" for n in range(1, len(NAMES) + 1)
        ]
        assert [name for _, name in users] == [
            "anna weiss", None, "κώστασ\nκωστασ", "i\u0307lker\nilker", "зоя",
        ]  # fmt: skip
        await downgrade(empty_url, migration.down_revision)
