"""Whose every row of the database is, and what a call has changed beyond what it may.

A call may change rows of whoever makes it, and a refused one none at all. Whatever else may change
is a line of ``ALSO`` or ``THOUGH_REFUSED``: by operation, by whose the row is, and by table.
"""

import json
from collections.abc import Callable
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, Row, select

from guilder.db.base import metadata
from guilder.db.engine import Database

type Owner = UUID | str
type Rows = dict[str, dict[tuple[Any, ...], Row[Any]]]
"""Every row by table and primary key."""
type Whose = Callable[[Row[Any], Rows], set[Owner]]

BANK: Final = "the bank"
"""Whose the rows are that are about no user."""
NAMED: Final = "the user who is named"
"""By an admin, or by an address that anybody may know."""
NEW: Final = "a user who was not there before"
SELF: Final = "the caller"
OTHERS: Final = "others"
"""Whose a row is that was there before anybody was watched, when it does not tell."""

APART: Final = ("audit_events", "audit_head", "health_row")
"""Every attempt is told there, a refused one too; what stands there cannot be changed."""


class May(NamedTuple):
    """What an operation changes by right, beside the caller's own."""

    operation: str
    whose: str
    tables: tuple[str, ...]
    why: str


POSTED: Final = ("ledger_head", "ledger_batches", "outbox")
MOVED: Final = ("ledger_transfers", "ledger_entries", "ledger_balances")
DEPOSIT: Final = "POST /api/v1/simulations/deposits"
FACTORS: Final = ("identity_totps", "identity_recovery_codes", "identity_passkeys")
LETTER: Final = ("identity_letters", "outbox", "outbox_deliveries")
SIGNED_UP: Final = ("identity_users", *LETTER)
ALSO: Final = (
    May("POST /api/v1/transfers", BANK, POSTED, "all postings stand in one row of batches"),
    May("POST /api/v1/transfers/batches", BANK, POSTED, "the same"),
    May(DEPOSIT, BANK, POSTED, "the same"),
    May(DEPOSIT, BANK, MOVED, "the money comes from the bank"),
    May(DEPOSIT, NAMED, MOVED, "an admin may give money to anybody"),
    May("POST /api/v1/accounts", BANK, ("ledger_head",), "nothing is booked before its opening"),
    May("PUT /api/v1/simulations/clock", BANK, ("ledger_head",), "there is one clock for all"),
    May("POST /api/v1/users", NEW, SIGNED_UP, "nobody has signed in yet who could be the caller"),
    May("POST /api/v1/auth/signup", NEW, SIGNED_UP, "the same"),
    May("POST /api/v1/auth/signup", NEW, ("identity_sessions", "identity_refresh_tokens"),
        "whoever signs up so is signed in"),
    May("POST /api/v1/email-verification-tokens", NAMED, LETTER,
        "anybody may have a letter sent to any address"),
    May("POST /api/v1/password-reset-tokens", NAMED, LETTER, "the same"),
    May("PATCH /api/v1/admin/users/{user_id}", NAMED, ("identity_users", "identity_sessions"),
        "an admin switches users off, and whoever is off has no sessions"),
    May("POST /api/v1/admin/users/{user_id}/rotations", NAMED, ("identity_rotations",),
        "an admin refuses what a user was given"),
    May("POST /api/v1/admin/security/rotations", BANK, ("identity_rotations",),
        "or what anybody was given"),
    May("DELETE /api/v1/admin/users/{user_id}/factors", NAMED, ("outbox", "outbox_deliveries"),
        "the user is told"),
    May("DELETE /api/v1/admin/users/{user_id}/factors", NAMED, (*FACTORS, "identity_sessions"),
        "an admin helps who has lost them"),
)  # fmt: skip
THOUGH_REFUSED: Final = (
    May("POST /api/v1/sessions", SELF, ("identity_failures",), "a wrong password counts"),
    May("POST /api/v1/auth/login", SELF, ("identity_failures",), "the same"),
    May("PUT /api/v1/users/me/password", SELF, ("identity_failures",), "the same"),
    May("POST /api/v1/sessions/current/step-ups", SELF, ("identity_failures",), "and a wrong code"),
    May("POST /api/v1/tokens", SELF, ("identity_sessions",), "a token used twice ends its session"),
)


def _by(column: str) -> Whose:
    return lambda row, _: {getattr(row, column) or BANK}


def _of_session(row: Row[Any], rows: Rows) -> set[Owner]:
    return {rows["identity_sessions"][(row.session_id,)].user_id}


def _on(*columns: str) -> Whose:
    """Of whoever owns the ledger's accounts in these columns; the bank owns the rest."""

    def whose(row: Row[Any], rows: Rows) -> set[Owner]:
        owners = {one.ledger_number: one.owner_user_id for one in rows["accounts"].values()}
        return {owners.get(getattr(row, column), BANK) for column in columns}

    return whose


def _of_hold(row: Row[Any], rows: Rows) -> set[Owner]:
    return WHOSE["ledger_transfers"](rows["ledger_transfers"][(row.id,)], rows)


def _of_words(row: Row[Any], rows: Rows) -> set[Owner]:
    return WHOSE["ledger_transfers"](rows["ledger_transfers"][(row.transfer_id,)], rows)


def _told(row: Row[Any], rows: Rows) -> set[Owner]:
    """Of the user whom an event is about."""
    about = json.loads(row.payload)
    if "letter_id" in about:
        letter = rows["identity_letters"][(UUID(about["letter_id"]),)]
        return WHOSE["identity_letters"](letter, rows)
    return {UUID(about["user_id"]) if "user_id" in about else BANK}


def _of_event(row: Row[Any], rows: Rows) -> set[Owner]:
    return _told(rows["outbox"][(row.event_id,)], rows)


WHOSE: Final[dict[str, Whose]] = {
    "accounts": _by("owner_user_id"),
    "identity_email_changes": _by("user_id"),
    "identity_letters": _by("user_id"),
    "identity_passkeys": _by("user_id"),
    "identity_recovery_codes": _by("user_id"),
    "identity_refresh_tokens": _of_session,
    "identity_rotations": _by("user_id"),
    "identity_sessions": _by("user_id"),
    "identity_totps": _by("user_id"),
    "identity_users": _by("id"),
    "ledger_accounts": _on("id"),
    "ledger_balances": _on("account_id"),
    "ledger_batches": lambda _, __: {BANK},
    "ledger_entries": _on("account_id"),
    "ledger_head": lambda _, __: {BANK},
    "ledger_holds": _of_hold,
    "ledger_limits": _on("account_id"),
    "ledger_search": _of_words,
    "ledger_transfers": _on("debit_account", "credit_account"),
    "outbox": _told,
    "outbox_deliveries": _of_event,
}
"""Whose a row is; a new table gets a line here, or one in ``UNSIGNED``."""
UNSIGNED: Final = {
    "idempotency_keys", "identity_failures", "identity_repeated_sign_ups",
    "identity_used_challenges", "ledger_idempotency", "rate_limits",
}  # fmt: skip
"""Tables of hashes that do not tell: a row is of whoever's call brought it."""


class Changed(NamedTuple):
    """A row that is not as it was, and whose it was and is."""

    table: str
    key: tuple[Any, ...]
    owners: set[Owner]

    def __str__(self) -> str:
        return f"{self.table} {self.key} of {sorted(map(str, self.owners))}"


class Watch:
    """Looks at all rows, and after each call at what has become of them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.rows: Rows = {}
        self.changed: list[Changed] = []
        self.used: set[tuple[May, str]] = set()
        self._first: dict[tuple[str, tuple[Any, ...]], Owner] = {}

    async def look(self) -> None:
        """Take the rows as they are for those before the next call."""
        async with self._database.view() as connection:
            self.rows = await connection.run_sync(_rows)

    async def changes(self, caller: Owner = OTHERS) -> list[Changed]:
        """Every row that was added, changed or removed since the last look."""
        before = self.rows
        await self.look()
        self.changed = [
            Changed(table, key, self._owners(table, key, caller, before))
            for table, rows in self.rows.items()
            for key in rows.keys() | before[table].keys()
            if rows.get(key) != before[table].get(key)
        ]
        return self.changed

    async def beyond(
        self, operation: str, caller: Owner, *, refused: bool, named: Owner | None = None
    ) -> list[Changed]:
        """Those that a call may not change; ``named`` is whom it names."""
        users = self.rows["identity_users"].keys()
        changed = await self.changes(caller)
        new = {id_ for (id_,) in self.rows["identity_users"].keys() - users}
        who: dict[str, set[Owner]] = {BANK: {BANK}, SELF: {caller}, NEW: new}
        who[NAMED] = set() if named is None else {named}
        lines = [
            (line, table)
            for line in (THOUGH_REFUSED if refused else ALSO)
            for table in line.tables
            if line.operation == operation
        ]
        beyond = []
        for one in changed:
            may = [(line, table) for line, table in lines if table == one.table]
            self.used.update(pair for pair in may if who[pair[0].whose] & one.owners)
            theirs = set().union(*(who[line.whose] for line, _ in may))
            if not one.owners <= (theirs if refused else theirs | {caller}):
                beyond.append(one)
        return beyond

    def owners(self, table: str) -> set[Owner]:
        """Whose rows there are."""
        return set().union(
            *(self._owners(table, key, OTHERS, self.rows) for key in self.rows[table])
        )

    def _owners(self, table: str, key: tuple[Any, ...], caller: Owner, before: Rows) -> set[Owner]:
        if table in UNSIGNED:
            if key not in before[table]:
                self._first[table, key] = caller
            return {self._first.get((table, key), OTHERS)}
        known = {name: before[name] | rows for name, rows in self.rows.items()}
        found = [rows[table][key] for rows in (before, self.rows) if key in rows[table]]
        return set().union(*(WHOSE[table](row, known) for row in found))


async def watching(database: Database) -> Watch:
    """A watch that has had its first look."""
    watch = Watch(database)
    await watch.look()
    return watch


def _rows(connection: Connection) -> Rows:
    return {
        table.name: {
            tuple(getattr(row, column.name) for column in table.primary_key): row
            for row in connection.execute(select(table))
        }
        for table in metadata.tables.values()
        if table.name not in APART
    }
