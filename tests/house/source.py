"""The checkers of the house tests: each takes a file and tells what breaks a rule."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LONGEST_FUNCTION = 60
LONGEST_FILE = 500

# Where a rule does not hold, and why. A key is a path or, with a closing slash, a folder.
MAY_COMMIT = {
    "guilder/seed/demo.py": "books the past of the demo bank through the ledger's store",
    "guilder/db/engine.py": "ends the transaction in which a new connection takes its role",
    "guilder/db/run.py": "the runner, the first of the two doors",
    "guilder/domains/ledger/poster.py": "the poster, the second door",
    "guilder/domains/ledger/store/": "the poster's raw drivers",
}
MAY_TELL_TIME = {"guilder/core/clock.py": "the one place that asks the machine what time it is"}
MAY_CATCH_ALL = {
    "guilder/cli/shell.py": "shows the traceback at the prompt, as Python does",
    "guilder/db/gathering.py": "tells everyone of a round that it failed",
    "guilder/db/run.py": "writes the FAILED audit row",
    "guilder/db/trail.py": "tries each row alone where one among many fails",
    "guilder/infra/process/dispatcher.py": "a subscriber's failure is written down and tried again",
    "guilder/api/middleware.py": "the last resort: answers 500",
    "guilder/domains/ledger/poster.py": "splits a batch until the bad item stands alone",
}
MAY_CHANGE_ALL = {
    "guilder/db/audit.py": "the trail has one head, and a CHECK sees to it",
}
MAY_USE_FLOATS = {
    "guilder/domains/ledger/poster.py": "measures seconds; amounts pass through it untouched",
}
MAY_JUDGE_OWNERSHIP = {
    "guilder/core/ownership.py": "the rule",
    "guilder/db/ownership.py": "the rule as SQL",
    "guilder/domains/identity/": "a login is its user's, whoever the user acts for",
}
NEAR_MONEY = (
    "guilder/core/money.py",
    "guilder/domains/ledger/",
    "guilder/domains/transfers/",
    "guilder/domains/accounts/",
)


@dataclass(frozen=True)
class Source:
    """One Python file: its path from the project root and its text."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    def is_in(self, places: dict[str, str] | tuple[str, ...]) -> bool:
        """Tell whether the file is one of `places` or lies in a folder of them."""
        return any(
            self.path.startswith(place) if place.endswith("/") else self.path == place
            for place in places
        )


def sources(*folders: str) -> Iterator[Source]:
    """Yield every Python file below `folders` of the project."""
    for folder in folders:
        yield from _sources_in(folder)


@cache
def _sources_in(folder: str) -> tuple[Source, ...]:
    """Read, and parsed, once for all the rules."""
    return tuple(
        Source(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
        for path in sorted((ROOT / folder).rglob("*.py"))
    )


def long_files(source: Source) -> Iterator[str]:
    lines = source.text.count("\n")
    if lines > LONGEST_FILE:
        yield f"{source.path}: {lines} lines; {LONGEST_FILE} are allowed: make it a package"


def long_functions(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            length = node.end_lineno - node.lineno + 1
            if length > LONGEST_FUNCTION:
                yield f"{_at(source, node)}: {node.name} is {length} lines, over {LONGEST_FUNCTION}"


def inner_imports(source: Source) -> Iterator[str]:
    for function in ast.walk(source.tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    yield f"{_at(source, node)}: an import inside {function.name} hides a cycle"


def stray_commits(source: Source) -> Iterator[str]:
    if source.is_in(MAY_COMMIT):
        return
    for node in ast.walk(source.tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="commit")):
                yield f"{_at(source, node)}: only the runner and the poster commit"
            case ast.Constant(value=str(text)) if text.strip().rstrip(";").upper() == "COMMIT":
                yield f"{_at(source, node)}: only the runner and the poster commit"


def stray_tables(source: Source) -> Iterator[str]:
    """Find tables where `guilder/tables.py` does not look for them."""
    if re.match(r"guilder/(db/\w+|domains/\w+/models(/\w+)?)\.py$", source.path):
        return
    for node in ast.walk(source.tree):
        match node:
            case ast.Call(func=ast.Name(id="Table") | ast.Attribute(attr="Table")):
                yield f"{_at(source, node)}: a table that no migration would be made for"


def own_clocks(source: Source) -> Iterator[str]:
    if source.is_in(MAY_TELL_TIME):
        return
    for node in ast.walk(source.tree):
        match node:
            case ast.Attribute(value=ast.Name(id=owner), attr=name):
                told = f"{owner}.{name}"
            case ast.Attribute(value=ast.Attribute(value=ast.Name(id="datetime")), attr=name):
                told = f"datetime.{name}"
            case ast.ImportFrom(module="time", names=names):
                told = next((f"time.{n.name}" for n in names if n.name.startswith("time")), "")
            case _:
                continue
        if told in _CLOCKS:
            yield f"{_at(source, node)}: {told} outside core/clock.py"


def floats_near_money(source: Source) -> Iterator[str]:
    """Find floats: called, annotated, calculated with, or as the type of a column.

    What is named for its unit, `timeout_seconds: float`, is a duration and no money.
    """
    if not source.is_in(NEAR_MONEY) or source.is_in(MAY_USE_FLOATS):
        return
    durations = set(_durations(source.tree))
    for node in ast.walk(source.tree):
        match node:
            case _ if node in durations:
                continue
            case ast.Name(id="float" | "Float" | "REAL" | "Numeric" | "Decimal"):
                yield f"{_at(source, node)}: {node.id}; money is an integer of minor units"
            case ast.BinOp(op=ast.Div()):
                yield f"{_at(source, node)}: `/` makes a float; use `//` or divmod"
            case (
                ast.BinOp(left=ast.Constant(value=float()))
                | ast.BinOp(right=ast.Constant(value=float()))
            ):
                yield f"{_at(source, node)}: calculates with a float literal"


def broad_excepts(source: Source) -> Iterator[str]:
    if source.is_in(MAY_CATCH_ALL):
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ExceptHandler) and _catches_all(node.type):
            raises = any(isinstance(inner, ast.Raise) and not inner.exc for inner in ast.walk(node))
            if not raises:
                yield f"{_at(source, node)}: catches everything and does not raise it again"


def unbound_changes(source: Source) -> Iterator[str]:
    """Find an UPDATE or DELETE that is about every row there is."""
    if source.is_in(MAY_CHANGE_ALL):
        return
    bound = {root for root, _ in bound_changes(source.tree)}
    parts = {part for node in ast.walk(source.tree) for part in _parts(node)}
    for node in ast.walk(source.tree):
        if node in parts:
            continue
        match node:
            case ast.Call() if _changes(node) and node not in bound:
                yield f"{_at(source, node)}: changes all rows; say which ones with `.where()`"
            case ast.Constant(value=str(text)) if _UNBOUND.match(text):
                yield f"{_at(source, node)}: changes all rows; say which ones with WHERE"
            case ast.JoinedStr() if _UNBOUND.match("".join(map(_shown, node.values))):
                yield f"{_at(source, node)}: changes all rows; say which ones with WHERE"


def bound_changes(tree: ast.AST) -> Iterator[tuple[ast.expr, list[ast.expr]]]:
    """Yield each SQLAlchemy UPDATE and DELETE with the conditions of a `.where()` on it."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=begun, attr="where"), args=[_, *_]):
                while not _changes(begun) and isinstance(begun, ast.Call):
                    begun = (
                        begun.func.value if isinstance(begun.func, ast.Attribute) else begun.func
                    )
                if _changes(begun):
                    yield begun, node.args


def _parts(node: ast.AST) -> list[ast.expr]:
    """The pieces of an f-string, which is looked at as a whole."""
    return node.values if isinstance(node, ast.JoinedStr) else []


def _shown(part: ast.expr) -> str:
    return part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "x"


def _changes(node: ast.expr) -> bool:
    """Tell whether it begins a statement: `table.update()` or `delete(table)`."""
    match node:
        case ast.Call(func=ast.Attribute(attr="update" | "delete"), args=[], keywords=[]):
            return True
        case ast.Call(func=ast.Name(id="update" | "delete")):
            return True
        case _:
            return False


def own_ownership(source: Source) -> Iterator[str]:
    """Find comparisons that decide whose something is, or who may see what is not theirs."""
    if source.is_in(MAY_JUDGE_OWNERSHIP):
        return
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Compare):
            continue
        sides = (node.left, *node.comparators)
        if not any(_is_none(side) for side in sides) and any(map(_names_an_owner, sides)):
            yield f"{_at(source, node)}: ask guilder.core.ownership or guilder.db.ownership"


def impure_core(source: Source, known: frozenset[str]) -> Iterator[str]:
    """Find imports of `guilder/core` from beyond the standard library (`known`) and core itself."""
    if not source.path.startswith("guilder/core/"):
        return
    for node in ast.walk(source.tree):
        match node:
            case ast.Import(names=names):
                modules = [name.name for name in names]
            case ast.ImportFrom(module=str(module)):
                modules = [module]
            case _:
                continue
        for module in modules:
            if module.split(".")[0] not in known and not module.startswith("guilder.core"):
                yield f"{_at(source, node)}: core imports {module}, not the standard library"


_UNBOUND = re.compile(r"\s*(UPDATE\s+\w+\s+(\w+\s+)?SET|DELETE\s+FROM)\s(?!.*\bWHERE\b)", re.DOTALL)
_CLOCKS = frozenset(
    f"{owner}.{name}"
    for owner, names in {
        "datetime": ("now", "utcnow", "today"),
        "date": ("today",),
        "time": ("time", "time_ns"),
        "func": ("now", "current_timestamp", "localtimestamp"),
    }.items()
    for name in names
)


def _durations(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        match node:
            case ast.arg(arg=name, annotation=ast.expr() as annotation):
                pass
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                pass
            case _:
                continue
        if name.lower().endswith("seconds"):
            yield from ast.walk(annotation)


def _catches_all(caught: ast.expr | None) -> bool:
    match caught:
        case None | ast.Name(id="Exception" | "BaseException"):
            return True
        case ast.Tuple(elts=parts):
            return any(_catches_all(part) for part in parts)
        case _:
            return False


def _is_none(side: ast.expr) -> bool:
    return isinstance(side, ast.Constant) and side.value is None


def _names_an_owner(side: ast.expr) -> bool:
    match side:
        case ast.Attribute(value=ast.Name(id="Role"), attr="ADMIN"):
            return True
        case ast.Attribute(value=ast.Name(id="actor") | ast.Attribute(attr="actor"), attr=name):
            return name in {"user_id", "acts_for"}
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name == "owner" or name.startswith("owner_")
        case _:
            return False


def _at(source: Source, node: ast.stmt | ast.expr | ast.ExceptHandler) -> str:
    return f"{source.path}:{node.lineno}"
