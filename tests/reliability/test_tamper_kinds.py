"""What can be altered behind the bank's back, kind by kind, and whether ``verify`` sees it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from guilder.core.actor import SYSTEM
from guilder.core.clock import SystemClock
from guilder.core.permissions import Role
from guilder.db.digest_proof import DigestTrail
from guilder.db.engine import Database
from guilder.db.run import Runner
from guilder.db.unit_of_work import View
from guilder.domains.audit.commands import BeginSigning, begin_signing
from guilder.domains.audit.verify import verify_audit
from guilder.domains.ledger.verify import BrokenRow, verify_ledger
from guilder.infra.security.signing import RingAuditSigner
from tests.reliability.test_tampering import (
    ALTERED,
    HISTORY,
    as_owner,
    open_the_back_door,
    some_history,
)
from tests.support.builders import a_user
from tests.support.facts import a_customer
from tests.support.sizes import postgres_in_ci
from tests.support.workers import ROOT

SIGNER = RingAuditSigner(b"k" * 32)
SEARCH = "ledger_search"
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
        "detail": "'{{}}'",
        "chain": "(SELECT chain FROM audit_events WHERE id = 1)",
        "key_id": "NULL",
        "digests": "NULL",
    }.items()
} | {
    "audit_events: a row deleted": "DELETE FROM audit_events WHERE id = 1",
    "audit_events: the last row deleted": "DELETE FROM audit_events WHERE id ="
    " (SELECT max(id) FROM audit_events)",
    "audit_head: hash changed": "UPDATE audit_head SET chain = (SELECT chain FROM audit_events"
    " WHERE id = 1)",
    "audit_head: number changed": "UPDATE audit_head SET last_id = last_id + 1",
    "audit_head: deleted": "DELETE FROM audit_head",
    "audit_head: key of digests changed": "UPDATE audit_head SET digest_key = chain",
    "audit_head: key of digests gone": "UPDATE audit_head SET digest_key = NULL",
}

BALANCE = "WHERE account_id = {customer}"
FACTS = {
    "accounts: owner": "UPDATE accounts SET owner_user_id = (SELECT id FROM identity_users"
    " WHERE role = 'admin')",
    "accounts: number": "UPDATE accounts SET account_number = 'x'",
    "accounts: currency": "UPDATE accounts SET currency = 'JPY'",
    "accounts: product": "UPDATE accounts SET product_code = 'savings'",
    "accounts: name": "UPDATE accounts SET name = 'x'",
    "accounts: status": "UPDATE accounts SET status = 'closed'",
    "accounts: which ledger account": "UPDATE accounts SET ledger_number = {customer}",
    "accounts: deleted": "DELETE FROM accounts",
    "floor": f"UPDATE ledger_balances SET floor = -1000000 {BALANCE}",
    "ceiling": f"UPDATE ledger_balances SET ceiling = 1 {BALANCE}",
    "freeze": f"UPDATE ledger_balances SET flags = 1 {BALANCE}",
    "limit: raised": "UPDATE ledger_limits SET max_amount = max_amount + 1",
    "limit: another period": "UPDATE ledger_limits SET period = 'month'",
    "limit: deleted": "DELETE FROM ledger_limits",
    "limit: added": "INSERT INTO ledger_limits VALUES ({customer}, 'day', 1, NULL, 0, 0, 0)",
    "ledger account: name": "UPDATE ledger_accounts SET name = 'x' WHERE id = {customer}",
    "ledger account: code": "UPDATE ledger_accounts SET code = 'x' WHERE id = {customer}",
    "ledger account: id": "UPDATE ledger_accounts SET public_id ="
    " '00000000-0000-0000-0000-000000000001' WHERE id = {customer}",
    "users: role": "UPDATE identity_users SET role = 'admin' WHERE role = 'user'",
    "users: password": "UPDATE identity_users SET password_hash = 'x'",
    "users: e-mail": "UPDATE identity_users SET email = 'x@x.example' WHERE role = 'user'",
    "users: e-mail key": "UPDATE identity_users SET email_key = 'x' WHERE role = 'user'",
    "users: verified": "UPDATE identity_users SET email_verified = NOT email_verified",
    "users: switched": "UPDATE identity_users SET is_active = NOT is_active",
    "users: known since": "UPDATE identity_users SET known_since = 1",
    "users: added": "INSERT INTO identity_users (id, email, email_key, password_hash, role,"
    " is_active, email_verified, created_at) SELECT '00000000-0000-0000-0000-000000000001', 'x',"
    " 'x', password_hash, 'admin', is_active, email_verified, 0 FROM identity_users"
    " WHERE role = 'admin'",
    "factors: app's secret": "UPDATE identity_totps SET secret = (SELECT hash FROM"
    " identity_recovery_codes LIMIT 1)",
    "factors: app unconfirmed": "UPDATE identity_totps SET confirmed_at = NULL",
    "factors: app ends": "UPDATE identity_totps SET ends_at = 1",
    "factors: app deleted": "DELETE FROM identity_totps",
    "factors: recovery code added": "INSERT INTO identity_recovery_codes SELECT secret, user_id"
    " FROM identity_totps",
    "factors: recovery code deleted": "DELETE FROM identity_recovery_codes",
    "factors: passkey's key": "UPDATE identity_passkeys SET public_key = credential_id",
    "factors: passkey's user": "UPDATE identity_passkeys SET user_id = (SELECT id FROM"
    " identity_users WHERE role = 'admin')",
    "factors: passkey deleted": "DELETE FROM identity_passkeys",
    "change of address: to another": "UPDATE identity_email_changes SET new_email = 'x'",
    "rotations: deleted": "DELETE FROM identity_rotations",
    "rotations: put off": "UPDATE identity_rotations SET effective_at = effective_at + 1",
}

EVENTS = {
    "outbox: a batch's transfers": "UPDATE outbox SET payload = replace(payload, 'last', 'late')"
    " WHERE type = 'ledger.batch_posted'",
    "outbox: a batch's time": "UPDATE outbox SET created_at = created_at + 1 WHERE id ="
    " (SELECT max(id) FROM outbox WHERE stream = 'ledger')",
    "outbox: a batch told twice": "INSERT INTO outbox (stream, type, payload, created_at)"
    " SELECT stream, type, payload, created_at FROM outbox WHERE id ="
    " (SELECT min(id) FROM outbox WHERE stream = 'ledger')",
}

UNSEEN = {
    "keys of whole batches": "DELETE FROM ledger_idempotency WHERE answer IS NOT NULL",
    "words of transfers": "UPDATE ledger_search SET folded = 'x'",
    "events of commands": "DELETE FROM outbox WHERE stream <> 'ledger'",
    "sessions": "UPDATE identity_sessions SET expires_at = expires_at + 1",
    "replays of codes": "UPDATE identity_totps SET last_step = 0",
}
"""By words of ``docs/explanation/audit.md``, which gives the reasons."""


def kinds(customer: int) -> Iterator[tuple[str, str, bool]]:
    """A name, a statement, and whether it has to be seen."""
    for statements in ALTERED.values():
        for sql in statements:
            yield sql.format(customer=customer)[:70], sql.format(customer=customer), True
    for name, sql in (TRAIL | FACTS).items():
        yield name, sql.format(customer=customer), True
    for name, sql in EVENTS.items():
        yield name, sql, True
    for name, sql in UNSEEN.items():
        yield name, sql.format(customer=customer), False


async def first_broken(view: View) -> tuple[object, ...] | BrokenRow | None:
    """As ``verify`` finds it, but no further."""
    trail = DigestTrail()
    audit = await verify_audit(view, signer=SIGNER, digests=trail)
    if audit.broken is None:
        await trail.compare(view)
    return audit.broken or trail.broken or (await verify_ledger(view)).broken


@postgres_in_ci
async def test_every_kind_of_tampering_is_seen_or_listed(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    customer = await some_history(database_url)
    database = Database(database_url)
    runner = Runner(database, SystemClock(), signer=SIGNER)
    async with database.begin() as connection:  # the history's own rows are not signed
        unsigned = await connection.scalar(text("SELECT max(id) FROM audit_events"))
    await runner.run(begin_signing, BeginSigning(), SYSTEM)
    await a_customer(runner)
    await a_user(runner, "admin@guilder.example", role=Role.ADMIN)
    await database.close()
    wrong, told = [], []
    async with as_owner(database_url) as connection:
        await open_the_back_door(database_url, connection, (*HISTORY, "audit_events", SEARCH))
        for name, statement, to_be_seen in kinds(customer):
            sql = statement
            if "audit_" in name:
                sql = statement.replace("WHERE id = 2", f"WHERE id = {unsigned + 2}")
            altering = await connection.begin_nested()
            changed = await connection.execute(text(sql))
            assert changed.rowcount > 0, sql
            seen = await first_broken(View(connection, 0))
            await altering.rollback()
            told.append(f"{'seen' if seen else 'not seen':8} {name}")
            if (seen is not None) != to_be_seen:
                wrong.append(name)
    with capsys.disabled():
        print("", *told, sep="\n")
    assert len(told) >= 60
    assert len(UNSEEN) < 10
    assert not wrong, "\n".join(wrong)


def test_what_is_not_seen_is_listed_with_its_reason() -> None:
    page = " ".join(PAGE.read_text().lower().split())
    assert not [name for name in UNSEEN if name not in page]
