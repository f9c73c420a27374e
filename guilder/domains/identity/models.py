"""The tables of identity: instants in microseconds since 1970, secrets only as hashes."""

from sqlalchemy import Column, ForeignKey, Table

from guilder.db.base import STRICT, Big, Bytes, Flagged, Guid, String, metadata

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
    **STRICT,
)

sessions = Table(
    "identity_sessions",
    metadata,
    Column("id", Guid, primary_key=True),
    Column("user_id", Guid, ForeignKey("identity_users.id"), nullable=False, index=True),
    Column("refresh_hash", Bytes, nullable=False, unique=True),
    Column("device_info", String),
    Column("ip_address", String, nullable=False),
    Column("created_at", Big, nullable=False),
    Column("expires_at", Big, nullable=False),
    **STRICT,
)
