"""Devices by network and kind, locks by user, letters under way, and apps that end."""

import ipaddress
import re

import sqlalchemy as sa
from alembic import op

from guilder.db.base import Big, Guid

revision = "20261128_identity_devices"
down_revision = "20261128_email_keys"
branch_labels = None
depends_on = None

_SESSIONS = sa.table(
    "identity_sessions",
    sa.column("ip_address", sa.Text()),
    sa.column("device_info", sa.Text()),
    sa.column("network", sa.Text()),
    sa.column("device_kind", sa.Text()),
)
_OLD_INDEX = ("ix_identity_sessions_user_id_ip_address_device_info", "ip_address", "device_info")
_NEW_INDEX = ("ix_identity_sessions_user_id_network_device_kind", "network", "device_kind")


def upgrade() -> None:
    op.add_column("identity_users", sa.Column("known_since", Big, nullable=True))
    op.add_column("identity_totps", sa.Column("ends_at", Big, nullable=True))
    op.add_column("identity_letters", sa.Column("claimed_at", Big, nullable=True))
    op.add_column("identity_failures", sa.Column("user_id", Guid, nullable=True))
    op.create_index(op.f("ix_identity_failures_user_id"), "identity_failures", ["user_id"])
    for name in ("network", "device_kind"):
        op.add_column("identity_sessions", sa.Column(name, sa.Text(), nullable=True))
    for old in _all(_SESSIONS.c.ip_address):
        here = _SESSIONS.c.ip_address == old
        op.execute(_SESSIONS.update().where(here).values(network=_network(old)))
    for old in _all(_SESSIONS.c.device_info):
        said = _SESSIONS.c.device_info.is_not_distinct_from(old)
        op.execute(_SESSIONS.update().where(said).values(device_kind=_kind(old or "")))
    _replace(_OLD_INDEX, _NEW_INDEX)


def downgrade() -> None:
    _replace(_NEW_INDEX, _OLD_INDEX)
    for name in ("device_kind", "network"):
        op.drop_column("identity_sessions", name)
    op.drop_index(op.f("ix_identity_failures_user_id"), table_name="identity_failures")
    op.drop_column("identity_failures", "user_id")
    op.drop_column("identity_letters", "claimed_at")
    op.drop_column("identity_totps", "ends_at")
    op.drop_column("identity_users", "known_since")


def _all(column: sa.ColumnClause[str]) -> list[str]:
    return list(op.get_bind().scalars(sa.select(column).distinct()))


def _replace(old: tuple[str, ...], new: tuple[str, ...]) -> None:
    op.drop_index(op.f(old[0]), table_name="identity_sessions")
    op.create_index(op.f(new[0]), "identity_sessions", ["user_id", *new[1:]])


def _network(ip_address: str) -> str:
    """As ``identity.rules.devices`` says it today."""
    try:
        address = ipaddress.ip_address(ip_address.partition("%")[0])
    except ValueError:
        return ip_address
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.ip_network((int(address), 64), strict=False))
        address = address.ipv4_mapped
    return str(address)


def _kind(device_info: str) -> str:
    without_versions = re.sub(r"/[^\s;,()]*", "", device_info)
    return " ".join(re.sub(r"[\d._]+", "", without_versions).split())
