"""What the package declares, what uses it, and the names of data: for the tests of the house."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from functools import cached_property

from tests.house.source import Source

ROUTED = frozenset(("get", "post", "put", "patch", "delete", "command", "callback"))
"""Decorators that hand a function over: its name is an operation of the API or a command."""
MOUNTED = frozenset(("APIRouter", "Typer"))
PLAIN = frozenset((
    "Protocol", "NamedTuple", "Exception", "ValueError", "RuntimeError",
    "Enum", "StrEnum", "IntEnum", "IntFlag",
))  # fmt: skip
"""Bases that call no method by its name, as those of a library do."""
NAMED_BY_CALL = {
    "Counter": "metric", "Gauge": "metric", "Histogram": "metric", "Job": "job",
    "Subscriber": "subscriber", "Policy": "rate limit policy", "Table": "table",
}  # fmt: skip
NAMED_BY_CLASS = {"action": "audit action", "type": "event type", "code": "error code"}


@dataclass(frozen=True)
class Declaration:
    """A public name at the top of a module, or of the class ``owner`` there."""

    source: Source
    name: str
    node: ast.stmt
    owner: str = ""

    @property
    def place(self) -> str:
        return f"{self.source.path}:{self.node.lineno}"

    @property
    def module(self) -> str:
        return module_of(self.source)

    @property
    def slice(self) -> str | None:
        """The domain whose folder it is in."""
        parts = self.source.path.split("/")
        return parts[2] if parts[:2] == ["guilder", "domains"] and len(parts) > 3 else None

    @property
    def is_function(self) -> bool:
        return isinstance(self.node, ast.FunctionDef | ast.AsyncFunctionDef)

    @property
    def is_routed(self) -> bool:
        """Whether a decorator such as ``@router.get(...)`` hands it over."""
        decorators = getattr(self.node, "decorator_list", ())
        return any(
            isinstance(found, ast.Call)
            and isinstance(found.func, ast.Attribute)
            and found.func.attr in ROUTED
            for found in decorators
        )

    @property
    def is_wiring(self) -> bool:
        """Whether every slice has one: a router, or a part of its ``wiring.py``."""
        value = getattr(self.node, "value", None)
        mounted = isinstance(value, ast.Call) and _last(value.func) in MOUNTED
        return mounted or self.source.path.endswith("/wiring.py")


def module_of(source: Source) -> str:
    return source.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def declarations(sources: Iterable[Source]) -> Iterator[Declaration]:
    """Yield the public names at the top of modules."""
    for source in sources:
        for node in source.tree.body:
            for name in _declared(node):
                if not name.startswith("_"):
                    yield Declaration(source, name, node)


def members(sources: Iterable[Source]) -> Iterator[Declaration]:
    """Yield the public methods and the members of enumerations of our own classes.

    Not of those with a base of a library: that calls them by their names.
    """
    classes = [
        (source, node)
        for source in sources
        for node in source.tree.body
        if isinstance(node, ast.ClassDef)
    ]
    bases = {node.name: [_last(base) for base in node.bases] for _, node in classes}
    for source, owner in classes:
        kinds = set(_ancestors(owner.name, bases))
        if kinds - PLAIN:
            continue
        for node in owner.body:
            is_enum = any(kind.endswith(("Enum", "Flag")) for kind in kinds)
            is_method = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            for name in _declared(node) if is_enum or is_method else ():
                if not name.startswith("_"):
                    yield Declaration(source, name, node, owner.name)


class Uses:
    """What some files use: names of modules, as (module, name), and attributes of anything."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self.sources = list(sources)
        self.names: set[tuple[str, str]] = set()
        self.attributes: set[str] = set()
        self.loaded: set[str] = set()
        for source in self.sources:
            modules = self._imported(source)
            for node in source.tree.body:
                own = set(_declared(node))
                if own != {"__all__"}:
                    self._read(node, module_of(source), own, modules)

    def has(self, declared: Declaration) -> bool:
        """Whether they use a name at the top of a module."""
        is_loaded = declared.module in self.loaded and declared.name in self.attributes
        return is_loaded or (declared.module, declared.name) in self.names

    @cached_property
    def _modules(self) -> frozenset[str]:
        return frozenset(map(module_of, self.sources))

    def _imported(self, source: Source) -> dict[str, str]:
        """Note what is imported by name, and return the modules by the names they have here."""
        modules: dict[str, str] = {}
        for node in ast.walk(source.tree):
            match node:
                case ast.Import(names=names):
                    modules |= {one.asname or one.name: one.name for one in names}
                case ast.ImportFrom(module=str(module), names=names):
                    for one in names:
                        if f"{module}.{one.name}" in self._modules:
                            modules[one.asname or one.name] = f"{module}.{one.name}"
                        else:
                            self.names.add((module, one.name))
        return modules

    def _read(self, tree: ast.AST, module: str, own: Set[str], modules: dict[str, str]) -> None:
        for node in ast.walk(tree):
            match node:
                case ast.Attribute(value=value, attr=name):
                    self.attributes.add(name)
                    if (owner := modules.get(ast.unparse(value))) is not None:
                        self.names.add((owner, name))
                case ast.Name(id=name, ctx=ast.Load()) if name not in own:
                    self.names.add((module, name))
                case (
                    ast.arg(annotation=ast.expr() as hint)
                    | ast.AnnAssign(annotation=hint)
                    | ast.FunctionDef(returns=ast.expr() as hint)
                    | ast.AsyncFunctionDef(returns=ast.expr() as hint)
                ):
                    self.names |= {(module, word) for word in _forward(hint) if word not in own}
                case ast.Call(func=ast.Name(id="getattr"), args=[_, ast.Constant(str(name)), *_]):
                    self.attributes.add(name)
                case ast.Call(func=func, args=[ast.Constant(str(name))]) if (
                    _last(func) == "import_module"
                ):
                    self.loaded.add(name)


def doubled(sources: Iterable[Source]) -> dict[str, list[str]]:
    """Return the names that mean two things, with the places where they are declared."""
    found: dict[str, list[Declaration]] = defaultdict(list)
    for declared in declarations(sources):
        if not (declared.is_routed or declared.is_wiring):
            found[declared.name].append(declared)
    return {
        name: [one.place for one in every]
        for name, every in sorted(found.items())
        if len({one.source.path for one in every}) > 1 and not _is_repeated(every)
    }


def _is_repeated(every: list[Declaration]) -> bool:
    """Whether they are functions of one slice: a read or write, passed on from layer to layer."""
    return (
        all(one.is_function and one.slice for one in every)
        and len({one.slice for one in every}) == 1
    )


def unused(package: Iterable[Source], others: Iterable[Source]) -> dict[str, str]:
    """Return what neither the package nor the ``others`` use, with the place of each."""
    sources = list(package)
    uses = Uses([*sources, *others])
    dead = [one for one in declarations(sources) if not one.is_routed and not uses.has(one)]
    dead += [one for one in members(sources) if one.name not in uses.attributes]
    return {".".join(filter(None, (one.owner, one.name))): one.place for one in dead}


def shared_data_names(sources: Iterable[Source]) -> list[str]:
    """Return the names of data, such as audit actions, that stand for two things."""
    places: dict[tuple[str, str], list[str]] = defaultdict(list)
    for source in sources:
        for node in ast.walk(source.tree):
            for kind, name, at in _data_names(node):
                places[kind, name].append(f"{source.path}:{at.lineno}")
    return [
        f"the {kind} {name} is used at {' and at '.join(at)}"
        for (kind, name), at in sorted(places.items())
        if len(at) > 1
    ]


def _data_names(node: ast.AST) -> Iterator[tuple[str, str, ast.stmt | ast.expr]]:
    match node:
        case ast.Call(func=func, args=[ast.Constant(value=str(name)), *_]):
            if (kind := NAMED_BY_CALL.get(_last(func))) is not None:
                yield kind, name, node
        case ast.ClassDef(body=body, bases=bases):
            is_settings = any(_last(base) == "BaseSettings" for base in bases)
            for stmt in body:
                match stmt:
                    case ast.AnnAssign(target=ast.Name(id=name)) if is_settings:
                        yield "setting", name, stmt
                    case (
                        ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(str(value)))
                        | ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(str(value)))
                    ) if name in NAMED_BY_CLASS:
                        yield NAMED_BY_CLASS[name], value, stmt


def _declared(node: ast.stmt) -> Iterator[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.TypeAlias(name=ast.Name(id=name)) | ast.AnnAssign(target=ast.Name(id=name)):
            yield name
        case ast.Assign(targets=targets):
            for target in targets:
                names = target.elts if isinstance(target, ast.Tuple) else [target]
                yield from (one.id for one in names if isinstance(one, ast.Name))


def _forward(hint: ast.expr) -> set[str]:
    """Return the names in the strings of an annotation."""
    texts = [node.value for node in ast.walk(hint) if isinstance(node, ast.Constant)]
    return {word for text in texts if isinstance(text, str) for word in re.findall(r"\w+", text)}


def _ancestors(name: str, bases: dict[str, list[str]]) -> Iterator[str]:
    """Yield the bases of a class that the package does not declare itself."""
    for base in bases[name]:
        if base in bases and base != name:
            yield from _ancestors(base, bases)
        else:
            yield base


def _last(expression: ast.expr) -> str:
    """Return the name at the end of ``a.b`` or ``b[T]``."""
    match expression:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(value=value):
            return _last(value)
        case _:
            return ""
