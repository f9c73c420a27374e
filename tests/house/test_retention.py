"""docs/reference/retention.md says of every table how long its rows are kept, and it is so."""

import re
from typing import Final

import pytest

from guilder.core.clock import DAY_US, MINUTE_US
from guilder.domains.identity.commands.pruning import SESSIONS_KEPT_US, TOKENS_KEPT_US
from guilder.domains.identity.repository.emails import KEPT_US
from guilder.domains.identity.rules.lockout import LOCK_US
from guilder.domains.identity.rules.users import SIGN_UP_US
from guilder.infra.process.settings import Settings
from guilder.tables import metadata
from tests.house.source import ROOT

PAGE: Final = (ROOT / "docs" / "reference" / "retention.md").read_text(encoding="utf-8")
ROWS: Final = re.findall(r"^\| (`[^|]+`) \| ([^|]+) \|", PAGE, re.MULTILINE)


def setting(name: str, unit: str) -> str:
    return f"`GUILDER_{name.upper()}` ({Settings.model_fields[name].default} {unit})"


KEPT: Final = {
    "audit_events": f"{setting('audit_years', 'years')} at least",
    "outbox": setting("events_kept_days", "days"),
    "outbox_deliveries": setting("events_kept_days", "days"),
    "idempotency_keys": setting("keys_kept_days", "days"),
    "identity_sessions": f"{SESSIONS_KEPT_US // DAY_US} days after its end",
    "identity_refresh_tokens": f"{TOKENS_KEPT_US // DAY_US} day after the end of its session",
    "identity_failures": f"{LOCK_US // MINUTE_US} minutes after the last",
    "identity_repeated_sign_ups": f"{SIGN_UP_US // DAY_US} days",
    "identity_email_changes": f"{KEPT_US // DAY_US} days after it was asked for",
}
"""What a setting or a constant decides; the books are for ever, the rest stands in the page."""


def described() -> dict[str, str]:
    """What the page says of each table."""
    return {name: kept for names, kept in ROWS for name in re.findall(r"`(\w+)`", names)}


def test_every_table_is_described_once() -> None:
    names = [name for names, _ in ROWS for name in re.findall(r"`(\w+)`", names)]
    assert sorted(names) == sorted(metadata.tables)


@pytest.mark.parametrize("table", KEPT)
def test_a_table_is_kept_as_long_as_the_page_says(table: str) -> None:
    assert described()[table] == KEPT[table]


def test_the_books_are_kept_for_ever() -> None:
    ledger = {kept for name, kept in described().items() if name.startswith("ledger_")}
    assert ledger == {"for ever"}
