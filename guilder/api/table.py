"""The table of routes: a path is looked up in it, segment by segment, not tried route by route."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from starlette.convertors import Convertor, StringConvertor
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from guilder.api.binding import BoundEndpoint, bound_endpoint
from guilder.api.compression import may_be_compressed
from guilder.api.errors import MethodNotAllowed
from guilder.api.policies import ASSETS
from guilder.api.routing import LeanEndpoint, RouteRequirements, lean_endpoint, requirements_of
from guilder.core.errors import NotFound

_PAGE: Final = RouteRequirements(query=None, policy=ASSETS)
"""What the pages of the reference require, and what they load."""


@dataclass(frozen=True, slots=True)
class RouteEntry:
    """A route as the gateway runs it."""

    template: str
    methods: frozenset[str]
    app: ASGIApp
    endpoint: Callable[..., Any]
    route: BaseRoute
    requirements: RouteRequirements
    lean: LeanEndpoint | None = None
    bound: BoundEndpoint | None = None
    compressed: bool = False


@dataclass(slots=True)
class _Node:
    """One place in the tree of paths; ``names`` are those of the parameters on the way here."""

    literal: dict[str, "_Node"] = field(default_factory=dict)
    parameter: "_Node | None" = None
    entries: dict[str, tuple[RouteEntry, tuple[str, ...]]] = field(default_factory=dict)


class RouteTable:
    """Finds the entry for a method and a path; ``complete`` when every route of the app is in."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._root = _Node()
        self._fixed: dict[str, dict[str, RouteEntry]] = {}
        self.complete = True
        for context in iter_route_contexts(routes):
            entry = _entry(context)
            if entry is None:
                self.complete = False
            else:
                self._add(entry)

    def find(self, method: str, path: str) -> tuple[RouteEntry, dict[str, str]] | None:
        """The entry and its path parameters, None for a path that is not in the table.

        Raises ``MethodNotAllowed``, or ``NotFound`` when the table has every route. A literal
        segment goes before a parameter, whatever the method: ``/sessions/current`` is not a session
        of that id.
        """
        if (fixed := self._fixed.get(path)) is not None and (entry := fixed.get(method)):
            return entry, {}
        node, values = next(_walk(self._root, path.split("/")[1:], ()), (None, ()))
        if node is None:
            if self.complete:
                raise NotFound()
            return None
        if (found := node.entries.get(method)) is None:
            raise MethodNotAllowed(node.entries)
        return found[0], dict(zip(found[1], values, strict=True))

    def _add(self, entry: RouteEntry) -> None:
        if entry.template != "/" and entry.template.endswith("/"):
            raise ValueError(f"{entry.template}: a route is declared without its trailing slash")
        node, names = self._root, []
        for segment in entry.template.split("/")[1:]:
            if segment.startswith("{"):
                names.append(segment[1:-1])
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.literal.setdefault(segment, _Node())
        for method in entry.methods:
            node.entries.setdefault(method, (entry, tuple(names)))
            if not names:
                self._fixed.setdefault(entry.template, {}).setdefault(method, entry)


def _walk(
    node: _Node, segments: list[str], values: tuple[str, ...]
) -> Iterator[tuple[_Node, tuple[str, ...]]]:
    """Every node with entries that the path leads to, the most literal first."""
    if not segments:
        if node.entries:
            yield node, values
        return
    if (literal := node.literal.get(segments[0])) is not None:
        yield from _walk(literal, segments[1:], values)
    if node.parameter is not None and segments[0]:
        yield from _walk(node.parameter, segments[1:], (*values, segments[0]))


def _entry(context: RouteContext) -> RouteEntry | None:
    """The entry of a plain path; None for mounts, sockets and parameters of other shapes."""
    route = context.original_route
    if not isinstance(route, Route):
        return None
    template: str = context.path_format or ""
    if not _is_plain(template, context.param_convertors.values()):
        return None
    methods = frozenset(context.methods or ())
    if "GET" in methods:
        methods |= {"HEAD"}
    endpoint = context.endpoint
    assert endpoint is not None
    is_api = isinstance(route, APIRoute)
    return RouteEntry(
        template=template,
        methods=methods,
        app=AsyncExitStackMiddleware(context.app),
        endpoint=endpoint,
        route=route,
        requirements=requirements_of(context) if is_api else _PAGE,
        lean=lean_endpoint(endpoint) if is_api else None,
        bound=bound_endpoint(context) if is_api else None,
        compressed=may_be_compressed(endpoint),
    )


def _is_plain(template: str, convertors: Iterable[Convertor[Any]]) -> bool:
    """Whether each segment is either fixed or one parameter of the default kind."""
    whole = all(
        "{" not in part or (part[0] == "{" and part.find("}") == len(part) - 1)
        for part in template.split("/")
    )
    return whole and all(type(convertor) is StringConvertor for convertor in convertors)
