"""Users from before addresses were compared by A-labels keep their logins."""

from uuid import UUID

import pytest
from alembic.script import ScriptDirectory

from guilder.db.migrate import config, downgrade, upgrade
from tests.db import owner

REVISION = "20261128_email_keys"
OLD = {
    "Ada@example.test": "ada@example.test",
    "x@faß.example": "x@fass.example",
    "Straße@bücher.test": "strasse@bücher.test",
    "ﬁ@example.test": "fi@example.test",
    "eve@example.test": "eve@example.test",
}
NEW = ["ada@example.test", "x@xn--fa-hia.example", "straße@xn--bcher-kva.test", "ﬁ@example.test",
       "eve@example.test"]  # fmt: skip


async def test_the_keys_of_users_are_made_anew(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    migration = ScriptDirectory.from_config(config()).get_revision(REVISION)
    assert migration is not None
    assert isinstance(migration.down_revision, str)
    monkeypatch.setattr(migration.module, "PAGE", 2)
    await upgrade(empty_url, migration.down_revision)
    true = "1" if empty_url.startswith("sqlite") else "true"
    for number, (email, key) in enumerate(OLD.items(), 1):
        await owner.execute(
            empty_url,
            "INSERT INTO identity_users (id, email, email_key, password_hash, role, is_active, "
            f"email_verified, created_at) VALUES ('{UUID(int=number)}', '{email}', '{key}', 'x', "
            f"'user', {true}, {true}, 1)",
        )
    for _ in range(2):
        await upgrade(empty_url, REVISION)
        assert await keys(empty_url) == NEW
        await downgrade(empty_url, migration.down_revision)
        assert await keys(empty_url) == list(OLD.values())


async def keys(url: str) -> list[str]:
    return [
        key for (key,) in await owner.rows(url, "SELECT email_key FROM identity_users ORDER BY id")
    ]
