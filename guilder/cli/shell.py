"""``guilder shell``: Python with an open bank, where ``await`` works at the prompt."""

import ast
import asyncio
import code
import importlib
import sys
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import CancelledError, wait
from contextlib import contextmanager, suppress
from inspect import iscoroutine
from threading import Thread
from types import CodeType, FunctionType
from typing import Any, Concatenate, Final

from guilder.bootstrap import Bank, open_bank
from guilder.core.actor import SYSTEM, Actor
from guilder.db.run import Command
from guilder.db.unit_of_work import UnitOfWork, View
from guilder.infra.process.settings import Settings

BANNER: Final = """\
A bank is open; what you change is real. `await` works here.
  bank                            its parts: bank.poster, bank.transfers, bank.settings, ...
  await view(query, ...)          a query (view, ...), in a transaction that cannot write
  await run(handler, command)     a command, as the bank itself or as a third argument's actor
Ctrl-D ends."""
FAILED: Final = 1
GLANCE_SECONDS: Final = 0.5


def converse(settings: Settings) -> int:
    """Run what stands on standard input, or ask at a terminal; gives the exit status."""
    with _bank_open(settings) as (bank, loop):
        console = _Console(_names(bank), loop)
        if not sys.stdin.isatty():
            return console.run_script(sys.stdin.read())
        with suppress(ImportError):  # it gives the prompt a history; not every system has it
            importlib.import_module("readline")
        console.interact(BANNER, "")
        return 0


@contextmanager
def _bank_open(settings: Settings) -> Iterator[tuple[Bank, asyncio.AbstractEventLoop]]:
    """A bank in a thread of its own, so that Ctrl-C goes to the prompt and not to the bank."""
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        thread = Thread(target=loop.run_forever, name="bank")
        thread.start()
        try:
            life = open_bank(settings)
            bank = asyncio.run_coroutine_threadsafe(_step(life.__aenter__), loop).result()
            try:
                yield bank, loop
            finally:
                end = _step(life.__aexit__, None, None, None)
                asyncio.run_coroutine_threadsafe(end, loop).result()
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()


async def _step(step: Callable[..., Awaitable[Any]], *arguments: object) -> Any:
    return await step(*arguments)


def _names(bank: Bank) -> dict[str, Any]:
    """What the prompt knows."""

    async def run[C: Command, T](
        handler: Callable[[UnitOfWork, C], Coroutine[Any, Any, T]],
        command: C,
        actor: Actor = SYSTEM,
    ) -> T:
        """Run a command and commit it."""
        return await bank.runner.run(handler, command, actor)

    async def view[T, **P](
        query: Callable[Concatenate[View, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Answer a query."""
        return await bank.runner.view(query, *args, **kwargs)

    return {"__name__": "__console__", "bank": bank, "run": run, "view": view}


class _Console(code.InteractiveConsole):
    """Runs statements in the bank's loop."""

    def __init__(self, names: dict[str, Any], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(names)
        self.compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        self._names = names
        self._loop = loop
        self._failed = False

    def run_script(self, source: str) -> int:
        """Run a whole script; gives the exit status."""
        try:
            compiled = compile(
                source, "<stdin>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
            )
        except (SyntaxError, ValueError):
            self.showsyntaxerror()
            return FAILED
        self.runcode(compiled)
        return FAILED if self._failed else 0

    def runcode(self, code: CodeType) -> None:
        """Run a compiled statement; a mistake is shown and does not end the prompt."""
        error = self._error_of(code)
        if isinstance(error, SystemExit):
            raise error
        if error is not None:
            self._failed = True
            below = error.__traceback__ and error.__traceback__.tb_next
            traceback.print_exception(error.with_traceback(below))

    def _error_of(self, code: CodeType) -> BaseException | None:
        future = asyncio.run_coroutine_threadsafe(self._run(code), self._loop)
        try:
            # Python never sees a Ctrl-C of the moment in which it has begun a wait without an end.
            while wait((future,), GLANCE_SECONDS).not_done:
                continue
            return future.exception() or future.result()
        except CancelledError as error:
            return error
        except KeyboardInterrupt:
            future.cancel()
            raise

    async def _run(self, code: CodeType) -> SystemExit | None:
        try:
            result = FunctionType(code, self._names)()
            if iscoroutine(result):
                await result
        except SystemExit as error:  # it would end the loop
            return error
        return None
