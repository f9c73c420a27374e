"""Every cell of the table of roles and permissions."""

import pytest

from guilder.core.actor import ANONYMOUS, SYSTEM, Actor
from guilder.core.permissions import GRANTS, Permission, Role

TABLE = {
    "profile:read": "admin user readonly",
    "profile:write": "admin user",
    "security:write": "admin user readonly",
    "accounts:read": "admin user readonly",
    "accounts:write": "admin user",
    "transfers:read": "admin user readonly",
    "transfers:write": "admin user",
    "simulations:read": "admin user readonly",
    "simulations:write": "admin user",
    "users:read": "admin",
    "users:write": "admin",
    "audit:read": "admin",
    "rotations:write": "admin",
}


def test_the_table_names_every_permission() -> None:
    assert TABLE.keys() == set(Permission)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("permission", Permission)
def test_a_role_has_the_permissions_of_the_table(role: Role, permission: Permission) -> None:
    wanted = role.value in TABLE[permission].split()
    assert (permission in GRANTS[role]) is wanted
    assert Actor(None, role).has_permission(permission) is wanted


def test_a_higher_role_has_all_that_a_lower_one_has() -> None:
    assert GRANTS[Role.READONLY] < GRANTS[Role.USER] < GRANTS[Role.ADMIN] == set(Permission)


@pytest.mark.parametrize("permission", Permission)
def test_nobody_may_do_nothing_and_the_bank_everything(permission: Permission) -> None:
    assert not ANONYMOUS.has_permission(permission)
    assert SYSTEM.has_permission(permission)
