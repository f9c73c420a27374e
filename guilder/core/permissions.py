"""What a caller may do: permissions, and which role has them."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Role(StrEnum):
    """What a login is for, most first: admin, user, readonly."""

    ADMIN = "admin"
    USER = "user"
    READONLY = "readonly"


class Permission(StrEnum):
    """``resource:action``; whose resources is another question, and each query's own."""

    PROFILE_READ = "profile:read"
    PROFILE_WRITE = "profile:write"
    SECURITY_WRITE = "security:write"
    ACCOUNTS_READ = "accounts:read"
    ACCOUNTS_WRITE = "accounts:write"
    TRANSFERS_READ = "transfers:read"
    TRANSFERS_WRITE = "transfers:write"
    SIMULATIONS_READ = "simulations:read"
    SIMULATIONS_WRITE = "simulations:write"
    USERS_READ = "users:read"
    USERS_WRITE = "users:write"
    ROTATIONS_WRITE = "rotations:write"
    AUDIT_READ = "audit:read"


_READONLY: Final = frozenset(
    {
        Permission.PROFILE_READ,
        Permission.SECURITY_WRITE,  # whoever can come in can change the lock
        Permission.ACCOUNTS_READ,
        Permission.TRANSFERS_READ,
        Permission.SIMULATIONS_READ,
    }
)
_USER: Final = _READONLY | {
    Permission.PROFILE_WRITE,
    Permission.ACCOUNTS_WRITE,
    Permission.TRANSFERS_WRITE,
    Permission.SIMULATIONS_WRITE,
}
GRANTS: Final[Mapping[Role, frozenset[Permission]]] = MappingProxyType(
    {Role.READONLY: _READONLY, Role.USER: _USER, Role.ADMIN: frozenset(Permission)}
)
"""Every permission of every role."""
WITHOUT_FACTOR: Final[Mapping[Role, Role]] = MappingProxyType({Role.ADMIN: Role.USER})
"""The role in which somebody acts who has not proved a second factor, where theirs demands one."""
