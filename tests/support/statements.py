"""What an application says to its database: every statement with its values, in order."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from guilder.db.engine import Database

type Said = list[tuple[str, Any]]


@contextmanager
def statements(database: Database) -> Iterator[Said]:
    """Written down as long as the block lasts, whichever connection they go through."""
    said: Said = []
    engines = {database.reader.sync_engine, database.writer.sync_engine}

    def note(_connection: Any, _cursor: Any, sql: str, values: Any, *_more: Any) -> None:
        said.append((" ".join(sql.split()), values))

    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    try:
        yield said
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", note)
