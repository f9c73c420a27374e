"""What can be altered behind the bank's back, kind by kind, and whether ``verify`` sees it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from guilder.core.actor import Actor
from guilder.core.clock import SystemClock
from guilder.core.permissions import Role
from guilder.db.engine import Database, is_sqlite
from guilder.db.run import Runner
from guilder.db.unit_of_work import View
from guilder.infra.security.signing import RingAuditSigner
from guilder.verification import verify_view
from tests.reliability.test_tampering import ALTERED, HISTORY, as_owner, some_history
from tests.support.builders import a_user, an_account
from tests.support.workers import ROOT

SIGNER = RingAuditSigner(b"k" * 32)
PAGE: Path = ROOT / "docs" / "explanation" / "audit.md"

TRAIL = {
    f"audit_events: {column} changed": f"UPDATE audit_events SET {column} = {value} WHERE id = 2"
    for column, value in {
        "at": "at + 1",
        "attempt_id": "'00000000-0000-0000-0000-000000000001'",
        "action": "'user.delete'",
        "phase": "'failed'",
        "actor": "'anonymous'",
        "session_id": "'00000000-0000-0000-0000-000000000001'",
        "subject": "'x'",
        "code": "'x'",
        "request_id": "'x'",
        "ip_address": "'192.0.2.8'",
        "detail": "'{}'",
        "chain": "(SELECT chain FROM audit_events WHERE id = 1)",
        "key_id": "NULL",
    }.items()
} | {
    "audit_events: a row deleted": "DELETE FROM audit_events WHERE id = 1",
    "audit_events: the last row deleted": "DELETE FROM audit_events WHERE id ="
    " (SELECT max(id) FROM audit_events)",
    "audit_head: hash changed": "UPDATE audit_head SET chain = (SELECT chain FROM audit_events"
    " WHERE id = 1)",
    "audit_head: number changed": "UPDATE audit_head SET last_id = last_id + 1",
    "audit_head: deleted": "DELETE FROM audit_head",
}

UNSEEN = {
    "owner, number": "UPDATE accounts SET account_number = 'x'",
    "currency and status": "UPDATE accounts SET status = 'closed'",
    "floors": "UPDATE ledger_balances SET floor = -1000000 WHERE account_id = {customer}",
    "ceilings": "UPDATE ledger_balances SET ceiling = 1 WHERE account_id = {customer}",
    "flags": "UPDATE ledger_balances SET flags = 1 WHERE account_id = {customer}",
    "names and codes": "UPDATE ledger_accounts SET name = 'x' WHERE id = {customer}",
    "roles": "UPDATE identity_users SET role = 'admin'",
    "password hashes": "UPDATE identity_users SET password_hash = 'x'",
    "verified marks": "UPDATE identity_users SET email_verified = NOT email_verified",
    "keys of whole batches": "DELETE FROM ledger_idempotency WHERE answer IS NOT NULL",
}
"""By words of ``docs/explanation/audit.md``, which gives the reasons."""


def kinds(customer: int) -> Iterator[tuple[str, str, bool]]:
    """A name, a statement, and whether it has to be seen."""
    for statements in ALTERED.values():
        for sql in statements:
            yield sql.format(customer=customer)[:70], sql.format(customer=customer), True
    for name, sql in TRAIL.items():
        yield name, sql, True
    for name, sql in UNSEEN.items():
        yield name, sql.format(customer=customer), False


async def test_every_kind_of_tampering_is_seen_or_listed(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    customer = await some_history(database_url)
    database = Database(database_url)
    runner = Runner(database, SystemClock(), signer=SIGNER)
    async with database.begin() as connection:  # the history's own rows are not signed
        unsigned = await connection.scalar(text("SELECT max(id) FROM audit_events"))
    user = await a_user(runner)
    await an_account(runner, Actor(user.id, Role.USER))
    await database.close()
    wrong, told = [], []
    for name, statement, to_be_seen in kinds(customer):
        signed = f"id = {unsigned + 2}"
        sql = (
            statement.replace("WHERE id = 2", f"WHERE {signed}") if "audit_" in name else statement
        )
        async with as_owner(database_url) as connection:
            for table in (*HISTORY, "audit_events"):
                if is_sqlite(database_url):
                    for verb in ("update", "delete"):
                        await connection.execute(text(f"DROP TRIGGER {table}_no_{verb}"))
                else:
                    await connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
            changed = await connection.execute(text(sql))
            assert changed.rowcount > 0, sql
            found = await verify_view(View(connection, 0), SIGNER)
        seen = found.books.broken or found.audit.broken
        told.append(f"{'seen' if seen else 'not seen':8} {name}")
        if (seen is not None) != to_be_seen:
            wrong.append(name)
    with capsys.disabled():
        print("", *told, sep="\n")
    assert len(told) >= 60
    assert not wrong, "\n".join(wrong)


def test_what_is_not_seen_is_listed_with_its_reason() -> None:
    page = " ".join(PAGE.read_text().lower().split())
    assert not [name for name in UNSEEN if name not in page]
