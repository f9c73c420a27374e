"""Writes docs/reference from the code: settings, errors, metrics and so on. `make openapi` runs it.

`tests/house/test_reference.py` fails when the committed pages differ from what this renders.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from prometheus_client.metrics_core import Metric
from pydantic import SecretStr
from pydantic.fields import FieldInfo

import guilder
from guilder.api.field_codes import FIELD_CODES
from guilder.api.openapi import OPEN_ENUM, RATE_LIMIT
from guilder.api.policies import POLICIES, RateLimitPolicy
from guilder.api.problems import PROBLEM_JSON, status_of
from guilder.api.reference import meaning_of, refusal_kinds
from guilder.core.errors import Refusal
from guilder.core.permissions import GRANTS, Permission, Role
from guilder.infra.process.settings import Settings, load_settings
from guilder.infra.process.telemetry import Telemetry
from guilder.main import create_app

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"
WRITTEN_PLAINLY = "Written by `make openapi` from the code. Do not edit."
WRITTEN = f"<!-- {WRITTEN_PLAINLY} -->"
METRIC_ENDINGS = {"counter": "_total", "info": "_info"}
PROCESS_METRICS = (
    ("process_cpu_seconds_total", "process_start_time_seconds"),
    ("process_resident_memory_bytes", "process_virtual_memory_bytes"),
    ("process_open_fds", "process_max_fds"),
)
UNGIVEN = "No operation gives it today."
ANYBODY, OPEN = "anybody", "open"
"""In Casbin's policy: who has not signed in, and the permission that they have."""


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
    """Render the tables of error codes: of problems, and of the fields that they name."""
    given = _statuses_given()
    rows = [
        f"| `{one.code}` | {_statuses(status_of(one), given.get(one.code))} |"
        f" {_cell(meaning_of(one))}{'' if one.code in given else f' {UNGIVEN}'} |"
        for one in refusals()
    ]
    fields = [f"| `{code}` | {_cell(when)} |" for code, when in sorted(FIELD_CODES.items())]
    return _page(
        "Error codes",
        "The `code` of an `application/problem+json` answer is stable, and its `type` leads to what"
        " the bank says\nof it, such as `/problems/insufficient_funds`. `title` and `detail` are"
        " for people and may change. The list is\nopen: more codes may come. A second status is"
        " that of OAuth2, where tokens are given out or revoked.",
        [
            "| code | status | when |",
            _rule(3),
            *sorted(rows),
            "",
            "## Codes of fields",
            "",
            "`errors` names the fields by `pointer` (into the body), `parameter` (of the query) or"
            " `header`, each with\na `code` of its own, as stable, and this list is open, too.",
            "",
            "| code | when |",
            _rule(2),
            *fields,
        ],
    )


def _statuses_given() -> dict[str, set[int]]:
    """Each code that an operation gives, with the statuses; none where it stands in a result."""
    document = create_app(load_settings(env="sandbox")).openapi()
    schemas = document["components"]["schemas"]
    given: dict[str, set[int]] = {}
    for name in ("Problem", "BatchResultOut"):
        given |= {code: set() for code in schemas[name]["properties"]["code"][OPEN_ENUM]}
    for operations in document["paths"].values():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                problem = response.get("content", {}).get(PROBLEM_JSON, {})
                for code in problem.get("examples", ()):
                    given[code].add(int(status))
    return given


def _statuses(usual: int, given: set[int] | None) -> str:
    return ", ".join(map(str, (usual, *sorted((given or set()) - {usual}))))


def permissions_page() -> str:
    """Render the table of permissions: who has each, and which operations ask for it."""
    asked: dict[str, list[str]] = {}
    for path, methods in create_app(load_settings(env="sandbox")).openapi()["paths"].items():
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
        " table is open to everybody.\nThe same for Casbin: [model](casbin-model.conf) and"
        " [policy](casbin-policy.csv).",
        ["| permission | roles | operations |", "| --- | --- | --- |", *rows],
    )


def casbin_model() -> str:
    """Render the model under which Casbin gives our answers: roles above roles, groups of acts."""
    return f"""# {WRITTEN_PLAINLY}
# May a role do something? That is a permission, such as accounts:read, or an operation of the API.
[request_definition]
r = sub, obj

[policy_definition]
p = sub, obj

[role_definition]
g = _, _
g2 = _, _

[policy_effect]
e = some(where (p.eft == allow))

[matchers]
m = g(r.sub, p.sub) && g2(r.obj, p.obj)
"""


def casbin_policy(grants: Mapping[Role, frozenset[Permission]] = GRANTS) -> str:
    """Render who has which permission (p), and which operation asks for which (g2).

    A role is under ANYBODY (g), who may do what nobody has to sign in for.
    """
    lines = [f"p, {role}, {one}" for role in Role for one in Permission if one in grants[role]]
    lines.append(f"p, {ANYBODY}, {OPEN}")
    lines += [f"g, {role}, {ANYBODY}" for role in Role]
    for path, methods in create_app(load_settings(env="sandbox")).openapi()["paths"].items():
        for method, operation in methods.items():
            lines.append(f"g2, {method.upper()} {path}, {operation.get('x-permission', OPEN)}")
    return "\n".join([f"# {WRITTEN_PLAINLY}", *lines, ""])


def limits_page() -> str:
    """Render the policies, and which routes are under each."""
    routes: dict[str, list[str]] = {}
    paths = create_app(load_settings(env="sandbox")).openapi()["paths"]
    for path, operations in paths.items():
        for method, operation in operations.items():
            found = routes.setdefault(operation[RATE_LIMIT]["policy"], [])
            found.append(f"`{method.upper()} {path}`")
    rows = [_policy_row(policy, routes.get(policy.name, [])) for policy in POLICIES]
    return _page(
        "Rate limits",
        "Each policy is a bucket of tokens: a request takes one, and the bucket fills evenly, from"
        " empty to full within\nthe window. An empty one answers 429 `rate_limited` with"
        " `Retry-After`. The bucket is that of the user, or of the\nclient's address where nobody"
        " is signed in (a /64 of IPv6); all routes of a policy share it. `GUILDER_RATE_READ` and"
        " so on\n([settings](settings.md)) give a policy another rate. When Redis is away, strict"
        " buckets of several workers are in the\ndatabase, other strict, write and bulk ones those"
        " of the process, and read ones let through.",
        ["| policy | class | tokens | window | for | routes |", _rule(6), *rows],
    )


def metrics_page() -> str:
    """Render the bank's own metrics: the name of each, its kind, its labels and what it tells."""
    telemetry = Telemetry()
    own = [one for one in telemetry.collect() if one.name.startswith("guilder_")]
    rows = [
        f"| `{one.name}{METRIC_ENDINGS.get(one.type, '')}` | {one.type} |"
        f" {', '.join(f'`{label}`' for label in _labels(one, telemetry))} |"
        f" {_cell(one.documentation)} |"
        for one in sorted(own, key=lambda one: one.name)
    ]
    return _page(
        "Metrics",
        "What `GET /metrics` answers in the format of Prometheus. A name ends in the unit: seconds,"
        " bytes, or what is counted. A\nhistogram has `_bucket` (with the label `le`), `_sum` and"
        " `_count`. With several workers all is added up, but for the\nstatus of a check and what"
        " is said of the outbox: these are as the worker sees them that answers. Besides, of all"
        " workers\ntogether, what every client of Prometheus has:\n"
        + ",\n".join(", ".join(f"`{name}`" for name in part) for part in PROCESS_METRICS)
        + ".\nA collector of OpenTelemetry is sent the same without the endings `_total` and"
        " `_info`. How to use them:\n[observe.md](../how-to/observe.md).",
        ["| metric | type | labels | tells |", _rule(4), *rows],
    )


def _labels(family: Metric, telemetry: Telemetry) -> Iterable[str]:
    declared = telemetry.labels.get(family.name)
    return family.samples[0].labels if declared is None else declared


def _policy_row(policy: RateLimitPolicy, routes: list[str]) -> str:
    rate = policy.rate
    numbers = f"{rate.capacity} | {rate.window_seconds} s"
    listed = "<br>".join(routes)
    return f"| `{policy.name}` | {policy.route_class} | {numbers} | {policy.about} | {listed} |"


def _rule(columns: int) -> str:
    return "|" + " --- |" * columns


def refusals() -> Iterator[type[Refusal]]:
    """Yield every refusal that the package defines, once."""
    for module in pkgutil.walk_packages(guilder.__path__, "guilder."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    yield from refusal_kinds()


def main() -> None:
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for name, render in PAGES.items():
        (REFERENCE / name).write_text(render(), encoding="utf-8")
        print(f"wrote docs/reference/{name}")


def _default(field: FieldInfo) -> str:
    default: Any = field.default
    if field.is_required():
        return "required"
    if default in (None, ()) or isinstance(default, SecretStr):
        return ""
    if isinstance(default, bool):
        return "`on`" if default else "`off`"
    return f"`{default}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("``", "`")


def _page(title: str, words: str, table: list[str]) -> str:
    return "\n".join([f"# {title}", "", WRITTEN, "", words, "", *table, ""])


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "errors.md": errors_page,
    "permissions.md": permissions_page,
    "rate-limits.md": limits_page,
    "metrics.md": metrics_page,
    "casbin-model.conf": casbin_model,
    "casbin-policy.csv": casbin_policy,
}

if __name__ == "__main__":
    main()
