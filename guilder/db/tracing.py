"""What a traced request asks the database."""

from typing import Any

from sqlalchemy import Engine, event

from guilder.core.ports import Tracer
from guilder.db.engine import Database
from guilder.db.reader import described


def trace_statements(database: Database, tracer: Tracer) -> None:
    """Show what a database is asked from now on, as text without values.

    Light reads are shown by their readers, which know whose they are.
    """
    system = "sqlite" if database.sqlite else "postgresql"

    def begun(
        _connection: Any, _cursor: Any, statement: str, _values: Any, context: Any, _many: bool
    ) -> None:
        if context is None:
            return
        context.step = tracer.span(*described(system, statement))
        context.step.__enter__()

    def ended(
        _connection: Any, _cursor: Any, _statement: str, _values: Any, context: Any, _many: bool
    ) -> None:
        if context is not None:
            context.step.__exit__(None, None, None)

    def failed(told: Any) -> None:
        context = told.execution_context
        if context is not None and hasattr(context, "step"):
            error = told.original_exception
            context.step.__exit__(type(error), error, error.__traceback__)

    engines: set[Engine] = {database.writer.sync_engine, database.reader.sync_engine}
    for engine in engines:
        event.listen(engine, "before_cursor_execute", begun)
        event.listen(engine, "after_cursor_execute", ended)
        event.listen(engine, "handle_error", failed)
