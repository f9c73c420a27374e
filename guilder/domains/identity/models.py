"""The tables of identity: instants in microseconds since 1970, secrets only as hashes."""

from typing import Final

from sqlalchemy import Column, ForeignKey, Index, Table, text

from guilder.db.base import STRICT, Big, Bytes, Flagged, Guid, String, metadata, only_changes
from guilder.db.digests import digest_rows, no_digests

users = Table(
    "identity_users",
    metadata,
    Column("id", Guid, primary_key=True),
    Column("email", String, nullable=False),
    Column("email_key", String, nullable=False, unique=True),
    Column("full_name", String),
    Column("password_hash", String, nullable=False),
    Column("role", String, nullable=False),
    Column("is_active", Flagged, nullable=False),
    Column("email_verified", Flagged, nullable=False),
    Column("created_at", Big, nullable=False),
    Column("folded_email", String, nullable=False, server_default=text("''")),
    Column("folded_full_name", String),
    Column("known_since", Big),
    Column("closed_at", Big),
    Column("factors_given_up_at", Big),
    Column("disputed_at", Big),
    **STRICT,
)

email_changes = Table(
    "identity_email_changes",
    metadata,
    Column("letter_id", Guid, primary_key=True),
    Column("user_id", Guid, ForeignKey("identity_users.id"), nullable=False),
    Column("old_email", String, nullable=False),
    Column("new_email", String, nullable=False),
    Column("created_at", Big, nullable=False),
    Column("undo_letter_id", Guid, unique=True),
    Column("session_id", Guid),
    Column("number", Big),
    Index(None, "user_id", "created_at"),
    **STRICT,
)

sessions = Table(
    "identity_sessions",
    metadata,
    Column("id", Guid, primary_key=True),
    Column("user_id", Guid, ForeignKey("identity_users.id"), nullable=False),
    Column("device_info", String),
    Column("ip_address", String, nullable=False),
    Column("created_at", Big, nullable=False),
    Column("last_activity_at", Big, nullable=False),
    Column("expires_at", Big, nullable=False),
    Column("generation", Big, nullable=False),
    Column("ended_at", Big),
    Column("ending", String),
    Column("version", Big, nullable=False, server_default=text("1")),
    Column("location", String),
    Column("proved_at", Big),
    Column("network", String),
    Column("device_kind", String),
    Column("factor_at", Big),
    Index(None, "user_id", "id"),
    Index(None, "user_id", "network", "device_kind"),
    Index(None, "ended_at"),
    Index(None, "expires_at"),
    **STRICT,
)

rotations = Table(
    "identity_rotations",
    metadata,
    Column("version", Big, primary_key=True, autoincrement=False),
    Column("user_id", Guid, ForeignKey("identity_users.id")),
    Column("reason", String, nullable=False),
    Column("made_by", String, nullable=False),
    Column("created_at", Big, nullable=False),
    Column("effective_at", Big, nullable=False),
    Index(None, "user_id", "version"),
    **only_changes(),
    **STRICT,
)

refresh_tokens = Table(
    "identity_refresh_tokens",
    metadata,
    Column("hash", Bytes, primary_key=True),
    Column("session_id", Guid, ForeignKey("identity_sessions.id"), nullable=False, index=True),
    Column("generation", Big, nullable=False),
    Column("created_at", Big, nullable=False),
    Column("used_at", Big),
    Column("salt", Bytes),
    **STRICT,
)

failures = Table(
    "identity_failures",
    metadata,
    Column("key", Bytes, primary_key=True),
    Column("in_a_row", Big, nullable=False),
    Column("last_at", Big, nullable=False, index=True),
    Column("locked_until", Big, nullable=False),
    Column("user_id", Guid, index=True),
    **STRICT,
)

letters = Table(
    "identity_letters",
    metadata,
    Column("id", Guid, primary_key=True),
    Column("purpose", String, nullable=False),
    Column("user_id", Guid, ForeignKey("identity_users.id")),
    Column("hash", Bytes, unique=True),
    Column("created_at", Big, nullable=False),
    Column("expires_at", Big, nullable=False, index=True),
    Column("sent_at", Big),
    Column("used_at", Big),
    Column("claimed_at", Big),
    Column("mailbox", Bytes),
    Index(None, "user_id", "purpose", "sent_at"),
    Index(None, "mailbox", "sent_at"),
    **STRICT,
)

repeated_sign_ups = Table(
    "identity_repeated_sign_ups",
    metadata,
    Column("mac", Bytes, primary_key=True),
    Column("created_at", Big, nullable=False, index=True),
    **STRICT,
)

totps = Table(
    "identity_totps",
    metadata,
    Column("user_id", Guid, ForeignKey("identity_users.id"), primary_key=True),
    Column("secret", Bytes, nullable=False),
    Column("created_at", Big, nullable=False),
    Column("confirmed_at", Big),
    Column("last_step", Big, nullable=False),
    Column("ends_at", Big),
    **STRICT,
)

recovery_codes = Table(
    "identity_recovery_codes",
    metadata,
    Column("hash", Bytes, primary_key=True),
    Column("user_id", Guid, ForeignKey("identity_users.id"), nullable=False, index=True),
    **only_changes(rows_stay=False),
    **STRICT,
)

passkeys = Table(
    "identity_passkeys",
    metadata,
    Column("id", Guid, primary_key=True),
    Column("user_id", Guid, ForeignKey("identity_users.id"), nullable=False),
    Column("name", String, nullable=False),
    Column("credential_id", Bytes, nullable=False, unique=True),
    Column("public_key", Bytes, nullable=False),
    Column("sign_count", Big, nullable=False),
    Column("created_at", Big, nullable=False),
    Column("last_used_at", Big),
    Index(None, "user_id", "id"),
    **only_changes("name", "sign_count", "last_used_at", rows_stay=False),
    **STRICT,
)

used_challenges = Table(
    "identity_used_challenges",
    metadata,
    Column("hash", Bytes, primary_key=True),
    Column("ends_at", Big, nullable=False, index=True),
    **STRICT,
)

_BUSY: Final = "they change with every request"

digest_rows(users, but=("folded_email", "folded_full_name"))
digest_rows(email_changes)
digest_rows(rotations)
digest_rows(totps, but=("last_step",))
digest_rows(recovery_codes)
digest_rows(passkeys, but=("sign_count", "last_used_at"))
no_digests(sessions, _BUSY)
no_digests(refresh_tokens, _BUSY)
no_digests(failures, _BUSY)
no_digests(used_challenges, _BUSY)
no_digests(repeated_sign_ups, "they are forgotten after 30 days")
no_digests(letters, "they are sent, spent and forgotten")
