"""Casbin, with the exported policy, gives the answers that we give."""

from collections.abc import Iterator
from pathlib import Path

import casbin
import pytest

from guilder.core.actor import Actor
from guilder.core.permissions import GRANTS, Permission, Role
from guilder.infra.process.settings import Settings
from guilder.main import create_app
from tools import reference

NOBODY = Actor(None, None)
WHO = {reference.ANYBODY: NOBODY, **{role.value: Actor(None, role) for role in Role}}


def operations() -> Iterator[tuple[str, Permission | None]]:
    """Each operation of the API, and the permission that it asks for."""
    app = create_app(Settings.model_validate({"env": "test", "data_dir": Path("unused")}))
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            named = operation.get("x-permission")
            yield f"{method.upper()} {path}", None if named is None else Permission(named)


OPERATIONS = dict(operations())


def enforcer(policy: Path = reference.REFERENCE / "casbin-policy.csv") -> casbin.Enforcer:
    return casbin.Enforcer(str(reference.REFERENCE / "casbin-model.conf"), str(policy))


def differing(asked: casbin.Enforcer) -> list[str]:
    """Where Casbin and we disagree."""
    wanted = OPERATIONS | {permission.value: permission for permission in Permission}
    return [
        f"{name} {what}"
        for name, actor in WHO.items()
        for what, permission in wanted.items()
        if asked.enforce(name, what) is not (permission is None or actor.has_permission(permission))
    ]


def test_casbin_and_we_agree_on_every_role_permission_and_operation() -> None:
    assert len(OPERATIONS) > 30
    assert differing(enforcer()) == []


def test_casbin_lets_nobody_do_what_is_not_there() -> None:
    asked = enforcer()
    for who in (*WHO, "king", ""):
        for what in ("kingdom:write", "DELETE /api/v1/users", "", "open "):
            assert asked.enforce(who, what) is False
    assert asked.enforce("king", Permission.ACCOUNTS_READ.value) is False


@pytest.mark.parametrize(
    ("role", "changed"),
    [
        *[(role, GRANTS[role] - {Permission.ACCOUNTS_READ}) for role in Role],
        (Role.USER, GRANTS[Role.USER] | {Permission.USERS_WRITE}),
        (Role.READONLY, GRANTS[Role.READONLY] | {Permission.TRANSFERS_WRITE}),
    ],
)
def test_a_policy_that_says_something_else_is_found(
    role: Role, changed: frozenset[Permission], tmp_path: Path
) -> None:
    planted = tmp_path / "policy.csv"
    planted.write_text(reference.casbin_policy({**GRANTS, role: changed}))
    assert differing(enforcer(planted))
