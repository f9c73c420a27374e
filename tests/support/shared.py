"""What each application makes anew and is the same for all, made once in a run of tests."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import is_
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util import LRUCache
from starlette.routing import BaseRoute

from guilder.api.table import RouteTable


class _Statements(LRUCache[Any, Any]):
    """Compiled statements of one dialect, whose key begins with its engine's own."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(key[1:], default)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key[1:], value)


_STATEMENTS: dict[str, _Statements] = {}
_LAST: list[tuple[list[BaseRoute], RouteTable]] = []


def _engine(*args: Any, **kwargs: Any) -> AsyncEngine:
    engine = create_async_engine(*args, **kwargs)
    engine.sync_engine._compiled_cache = _STATEMENTS.setdefault(
        engine.dialect.name, _Statements(2_000)
    )
    return engine


def _table(routes: Sequence[BaseRoute]) -> RouteTable:
    """The last one that was made, when it is of the very same routes."""
    if _LAST and len(_LAST[0][0]) == len(routes) and all(map(is_, _LAST[0][0], routes)):
        return _LAST[0][1]
    _LAST[:] = [(list(routes), RouteTable(routes))]
    return _LAST[0][1]


@contextmanager
def shared() -> Iterator[None]:
    """Applications of this process compile statements and build their table of routes once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("guilder.db.engine.create_async_engine", _engine)
        patch.setattr("guilder.api.middleware.RouteTable", _table)
        yield
