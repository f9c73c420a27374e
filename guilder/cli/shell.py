"""``guilder shell``: Python with an open bank, where ``await`` works at the prompt."""

import ast
import asyncio
import code
import importlib
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
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

type Wait = Callable[[Coroutine[Any, Any, Any]], Any]
"""Runs a coroutine in the bank's loop, and gives its result or raises its error."""


def converse(settings: Settings) -> int:
    """Run what stands on standard input, or ask at a terminal; gives the exit status."""
    with _bank_open(settings) as (bank, wait):
        console = _Console(_names(bank), wait)
        if not sys.stdin.isatty():
            return console.run_script(sys.stdin.read())
        with suppress(ImportError):  # it gives the prompt a history; not every system has it
            importlib.import_module("readline")
        console.interact(BANNER, "")
        return 0


@contextmanager
def _bank_open(settings: Settings) -> Iterator[tuple[Bank, Wait]]:
    """A bank in a thread of its own, so that Ctrl-C goes to the prompt and not to the bank."""
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        thread = Thread(target=loop.run_forever, name="bank")

        def wait(work: Coroutine[Any, Any, Any]) -> Any:
            future = asyncio.run_coroutine_threadsafe(work, loop)
            try:
                return future.result()
            except KeyboardInterrupt:
                future.cancel()
                raise

        thread.start()
        try:
            life = open_bank(settings)
            bank = wait(_enter(life.__aenter__))
            try:
                yield bank, wait
            finally:
                wait(_enter(life.__aexit__, None, None, None))
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()


async def _enter(step: Callable[..., Awaitable[Any]], *arguments: object) -> Any:
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

    def __init__(self, names: dict[str, Any], wait: Wait) -> None:
        super().__init__(names)
        self.compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        self._names = names
        self._wait = wait
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
        """Run a compiled statement; what it raises is shown."""
        error = self._wait(self._error_of(code))
        try:
            if error is not None:
                raise error
        except Exception:  # noqa: BLE001 - a mistake at the prompt does not end it
            self._failed = True
            self.showtraceback()

    async def _error_of(self, code: CodeType) -> BaseException | None:
        try:
            result = FunctionType(code, self._names)()
            if iscoroutine(result):
                await result
        except (Exception, SystemExit) as error:  # noqa: BLE001 - raised again at the prompt
            below = error.__traceback__ and error.__traceback__.tb_next
            return error.with_traceback(below)
        return None
