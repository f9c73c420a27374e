"""A bank with a hundred thousand accounts, made with plain SQL in a second or two."""

from sqlalchemy import Connection, text

from guilder.db.migrate import migration_engine

ACCOUNTS = 100_000
TRANSFERS = 60_000
BATCH = 500
FIRST_AT = 1_780_000_000_000_000
SPACING_US = 40_000_000
DAY_US = 86_400_000_000

# Account n pays account n + 7; every tenth is a hold, half of them open; some are reversals.
_KIND = "CASE WHEN n % 10 = 0 THEN 2 WHEN n % 10 = 3 AND n > 10 THEN 7 ELSE 1 END"
_DEBIT = f"1 + n % {ACCOUNTS}"
_CREDIT = f"1 + (n + 7) % {ACCOUNTS}"
_AT = f"{FIRST_AT} + n * {SPACING_US}"

_FILL = (
    """INSERT INTO ledger_accounts (id, public_id, code, asset, category, name, opened_at)
    SELECT n, {uuid}, NULL, 'USD', 'liability', 'crowd', 0 FROM {series_accounts}""",
    """INSERT INTO ledger_balances
    SELECT n, 0, 1000000, 5000, 5000, 0, 0, NULL, CASE WHEN n % 50 = 0 THEN 8 ELSE 0 END, 1, 'USD'
      FROM {series_accounts}""",
    """INSERT INTO ledger_limits
    SELECT n, 'day', 1000000, NULL, 0, 0, 0 FROM {series_accounts}
     WHERE n % 50 = 0""",
    f"""INSERT INTO ledger_transfers
    SELECT n, {_KIND}, {_DEBIT}, {_CREDIT}, 5, {_AT}, 'USD',
           CASE WHEN n % 9 = 0 THEN 20000 + n % 300 END, CASE WHEN n % 10 = 3 THEN n - 2 END,
           NULL, NULL, 'crowd', 'r' || n, NULL FROM {{series_transfers}}""",
    f"""INSERT INTO ledger_entries
    SELECT {_DEBIT}, n, CASE WHEN n % 10 = 0 THEN 0 ELSE -5 END, 100, 1,
           CASE WHEN n % 9 = 0 THEN 20000 + n % 300 END FROM {{series_transfers}}""",
    f"""INSERT INTO ledger_entries
    SELECT {_CREDIT}, n, CASE WHEN n % 10 = 0 THEN 0 ELSE 5 END, 100, 2,
           CASE WHEN n % 9 = 0 THEN 20000 + n % 300 END FROM {{series_transfers}}""",
    """INSERT INTO ledger_holds
    SELECT n, 5, CASE WHEN n % 20 = 0 THEN 0 ELSE 1 END,
           CASE WHEN n % 40 = 0 THEN {at} END FROM {series_transfers}
     WHERE n % 10 = 0""",
    """INSERT INTO ledger_idempotency
    SELECT {key}, {key}, n, NULL FROM {series_transfers}""",
    f"""INSERT INTO ledger_batches
    SELECT n, (n - 1) * {BATCH} + 1, n * {BATCH},
           {FIRST_AT} + ((n - 1) * {BATCH} + 1) * {SPACING_US},
           {FIRST_AT} + n * {BATCH} * {SPACING_US}, {{key}}, {{key}} FROM {{series_batches}}""",
    f"""UPDATE ledger_head SET last_no = {TRANSFERS}, last_batch = {TRANSFERS // BATCH},
           clock_us = {FIRST_AT + TRANSFERS * SPACING_US}""",
)


async def fill(url: str) -> None:
    """Accounts, balances, limits, transfers, entries, holds, keys and batches; then ANALYZE."""
    engine = migration_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(_fill)
    await engine.dispose()


def _fill(connection: Connection) -> None:
    postgres = connection.dialect.name == "postgresql"
    words = {
        "uuid": "gen_random_uuid()" if postgres else "hex(randomblob(16))",
        "key": "decode(md5(n::text), 'hex')" if postgres else "randomblob(16)",
        "at": _AT,
        "series_accounts": _series(postgres, ACCOUNTS),
        "series_transfers": _series(postgres, TRANSFERS),
        "series_batches": _series(postgres, TRANSFERS // BATCH),
    }
    for statement in _FILL:
        connection.execute(text(statement.format(**words).replace("::", r"\:\:")))
    if postgres:
        connection.execute(
            text("SELECT setval(pg_get_serial_sequence('ledger_accounts', 'id'), :n)"),
            {"n": ACCOUNTS},
        )
    connection.execute(text("ANALYZE"))


def _series(postgres: bool, count: int) -> str:
    if postgres:
        return f"generate_series(1::bigint, {count}) AS s(n)"
    return (
        "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s"
        f" WHERE n < {count}) SELECT n FROM s)"
    )
