"""Writes docs/reference from the code: settings, error codes, permissions. `make openapi` runs it.

`tests/house/test_reference.py` fails when the committed pages differ from what this renders.
"""

import importlib
import json
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo

import guilder
from guilder.api.problems import INTERNAL_ERROR, status_of
from guilder.core.errors import Refusal
from guilder.core.permissions import GRANTS, Permission, Role
from guilder.infra.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"
WRITTEN = "<!-- Written by `make openapi` from the code. Do not edit. -->"


def settings_page(settings: type[Settings] = Settings) -> str:
    """Render the table of settings."""
    prefix = settings.model_config.get("env_prefix", "")
    rows = [
        f"| `{prefix}{name.upper()}` | {_default(field)} | {_cell(field.description or '')} |"
        for name, field in settings.model_fields.items()
    ]
    return _page(
        "Settings",
        "Environment variables, or lines of `.env` in the working folder; the environment wins."
        f" An unknown\nname with the prefix `{prefix}` is refused. `guilder settings` shows what"
        " holds and where it comes from.",
        ["| name | default | meaning |", "| --- | --- | --- |", *rows],
    )


def errors_page() -> str:
    """Render the table of error codes."""
    rows = [
        f"| `{refusal.code}` | {status_of(refusal)} | {_cell(_first_sentence(refusal))} |"
        for refusal in refusals()
    ]
    rows.append(f"| `{INTERNAL_ERROR}` | 500 | A defect of Guilder; its log tells more. |")
    return _page(
        "Error codes",
        "The `code` of an `application/problem+json` answer is stable; `title` and `detail` are for"
        " people\nand may change.",
        ["| code | status | when |", "| --- | --- | --- |", *sorted(rows)],
    )


def permissions_page() -> str:
    """Render the table of permissions: who has each, and which operations ask for it."""
    asked: dict[str, list[str]] = {}
    for path, methods in json.loads((ROOT / "openapi.json").read_text("utf-8"))["paths"].items():
        for method, operation in methods.items():
            asked.setdefault(operation.get("x-permission", ""), []).append(
                f"`{method.upper()} {path.removeprefix('/api/v1')}`"
            )
    rows = [
        f"| `{permission}` | {', '.join(role for role in Role if permission in GRANTS[role])} |"
        f" {', '.join(asked.get(permission, []))} |"
        for permission in Permission
    ]
    return _page(
        "Roles and permissions",
        "A role has permissions; an operation asks for one. Whose accounts, transfers and sessions"
        " is another\nquestion: what is not yours is not found. An operation that is not in the"
        " table is open to everybody.",
        ["| permission | roles | operations |", "| --- | --- | --- |", *rows],
    )


def refusals() -> Iterator[type[Refusal]]:
    """Yield every refusal that the package defines, once."""
    for module in pkgutil.walk_packages(guilder.__path__, "guilder."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    waiting = [Refusal]
    seen: set[type[Refusal]] = set()
    while waiting:
        for found in waiting.pop().__subclasses__():
            if found not in seen and found.__module__.startswith("guilder."):
                seen.add(found)
                waiting.append(found)
                yield found


def main() -> None:
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for name, render in PAGES.items():
        (REFERENCE / name).write_text(render(), encoding="utf-8")
        print(f"wrote docs/reference/{name}")


def _default(field: FieldInfo) -> str:
    default: Any = field.default
    if field.is_required():
        return "required"
    if default is None or isinstance(default, SecretStr):
        return ""
    if isinstance(default, bool):
        return "`on`" if default else "`off`"
    return f"`{default}`"


def _first_sentence(refusal: type[Refusal]) -> str:
    return (refusal.__doc__ or "").strip().split("\n\n")[0]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("``", "`")


def _page(title: str, words: str, table: list[str]) -> str:
    return "\n".join([f"# {title}", "", WRITTEN, "", words, "", *table, ""])


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "errors.md": errors_page,
    "permissions.md": permissions_page,
}

if __name__ == "__main__":
    main()
