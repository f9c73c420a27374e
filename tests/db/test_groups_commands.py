"""Calls that arrive together share a transaction, and each is answered and told for itself."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from guilder.core.actor import Actor
from guilder.core.errors import (
    IdempotencyConflict,
    IdempotencyInProgress,
    NotFound,
    Refusal,
    Unavailable,
)
from guilder.core.result import Err, Ok
from guilder.db.calls import Asked, SetBased
from guilder.db.engine import RetryTransaction
from guilder.db.idempotency import Key
from guilder.db.run import Done, Replayed
from guilder.db.unit_of_work import UnitOfWork
from guilder.domains.audit.verify import verify_audit
from tests.db import owner
from tests.db.house import TELLER, House, Note, created, key, write_note
from tests.support.statements import statements

type Answers = Sequence[Ok[str] | Err[Refusal]]


class Notes:
    """Notes as a set-based command: what begins with ``no`` is refused, ``bad`` is a defect."""

    def __init__(self, before: Callable[[list[str]], None] = lambda _: None) -> None:
        self.rounds: list[list[str]] = []
        self._before = before
        self.write = SetBased(self._write)

    async def _write(self, asked: Sequence[Asked[Note]]) -> Answers:
        words = [one.command.words for one in asked]
        self.rounds.append(words)
        self._before(words)
        answers: list[Ok[str] | Err[Refusal]] = []
        for uow, cmd in asked:
            uow.audit(words=cmd.words)
            if cmd.words.startswith("no"):
                answers.append(Err(NotFound(cmd.words)))
                continue
            answers.append(Ok(await write_note(uow, cmd)))
            if cmd.words == "bad":
                raise ZeroDivisionError
        return answers


def caller(words: str) -> Actor:
    return replace(TELLER, request_id=words)


async def together(
    house: House, notes: Notes, *asked: str | tuple[str, Key]
) -> list[Done[str] | Replayed | str | BaseException]:
    """What calls that arrive at once are answered, those with a key among them."""

    async def one(given: str | tuple[str, Key]) -> Done[str] | Replayed | str:
        if isinstance(given, str):
            return await house.runner.run(notes.write, Note(given), caller(given))
        words, with_key = given
        return await house.runner.run_once(
            notes.write, Note(words), caller(words), with_key, created
        )

    return await asyncio.gather(*[one(given) for given in asked], return_exceptions=True)


async def told(house: House) -> dict[str, list[str]]:
    """By request the phases and codes in the trail, which holds."""
    assert (await house.runner.view(verify_audit)).broken is None
    found: dict[str, list[str]] = {}
    for row in await house.audit():
        found.setdefault(row.request_id, []).append(row.code or row.phase)
    return found


DONE = ["attempted", "succeeded"]


async def test_what_arrives_together_is_one_transaction_and_each_has_a_row_of_its_own(
    house: House,
) -> None:
    notes, commits = Notes(), list[int]()
    event.listen(house.database.writer.sync_engine, "commit", lambda _: commits.append(1))
    words = [f"n{n}" for n in range(8)]
    assert await together(house, notes, *words) == words
    assert notes.rounds == [words]
    assert len(commits) == (2 if house.sqlite else 1)  # on SQLite that of the attempts is seen
    assert await house.notes() == words
    assert await told(house) == dict.fromkeys(words, DONE)
    details = [json.loads(row.detail) for row in await house.audit() if row.phase == "succeeded"]
    assert details == [{"words": one} for one in words]


async def test_a_stop_that_is_given_up_runs_no_group_again(house: House) -> None:
    inside, rounds = asyncio.Event(), list[int]()

    async def hold(asked: Sequence[Asked[Note]]) -> Answers:
        rounds.append(len(asked))
        inside.set()
        await asyncio.Event().wait()
        raise AssertionError("nobody lets it go on")

    write = SetBased(hold)
    waiting = asyncio.create_task(house.runner.run(write, Note("a"), TELLER))
    await inside.wait()
    rounds_of_the_group = house.runner._groups[write]._task
    assert rounds_of_the_group is not None
    rounds_of_the_group.cancel()
    (answer,) = await asyncio.gather(waiting, return_exceptions=True)
    assert isinstance(answer, asyncio.CancelledError)
    assert (rounds, await house.notes()) == ([1], [])


async def test_who_comes_while_a_group_is_at_work_is_the_next_group(house: House) -> None:
    notes = Notes()
    inside, leave = asyncio.Event(), asyncio.Event()

    async def hold(asked: Sequence[Asked[Note]]) -> Answers:
        inside.set()
        await leave.wait()
        return await notes._write(asked)

    notes.write = SetBased(hold)
    first = asyncio.create_task(together(house, notes, "a"))
    await inside.wait()
    rest = asyncio.create_task(together(house, notes, "b", "c", "d"))
    await asyncio.sleep(0.02)
    leave.set()
    assert [*await first, *await rest] == ["a", "b", "c", "d"]
    assert [sorted(one) for one in notes.rounds] == [["a"], ["b", "c", "d"]]


async def in_turn(
    house: House, notes: Notes, first: str, *rest: str
) -> tuple[list[Any], list[str]]:
    """Calls that come while the first is at work; and the statements that tell of all."""
    inside, leave = asyncio.Event(), asyncio.Event()
    work = notes.write.many

    async def hold(asked: Sequence[Asked[Note]]) -> Answers:
        inside.set()
        await leave.wait()
        return await work(asked)

    notes.write = SetBased(hold)
    with statements(house.database) as said:
        begun = asyncio.create_task(together(house, notes, first))
        await inside.wait()
        follow = asyncio.create_task(together(house, notes, *rest))
        await asyncio.sleep(0.02)
        leave.set()
        ended = [*await begun, *await follow]
    return ended, [sql for sql, _ in said if "INSERT INTO audit_events" in sql]


async def test_the_commit_of_a_group_has_the_attempts_of_the_next(house: House) -> None:
    ended, said = await in_turn(house, Notes(), "a", "b", "c", "d")
    assert ended == ["a", "b", "c", "d"]
    assert len(said) == 3  # of the first attempt, of what the first did with the others, of these
    assert await told(house) == dict.fromkeys("abcd", DONE)
    phases = [(row.request_id, row.phase) for row in await house.audit()]
    assert phases[:2] == [("a", "attempted"), ("a", "succeeded")]
    assert [phase for _, phase in phases[2:]] == ["attempted"] * 3 + ["succeeded"] * 3


async def test_attempts_that_went_down_with_another_group_are_told_again(house: House) -> None:
    ended, _ = await in_turn(house, Notes(), "bad", "b", "c")
    assert isinstance(ended[0], ZeroDivisionError)
    assert ended[1:] == ["b", "c"]
    failed = ["attempted", "internal_error"]
    assert await told(house) == {"bad": failed, "b": DONE, "c": DONE}


async def test_who_cannot_be_told_of_does_not_begin_and_keeps_no_group_from_its_commit(
    house: House,
) -> None:
    wrong = "NEW.request_id = 'b' AND NEW.phase = 'attempted'"
    await owner.refuse_inserts(house.url, "audit_events", wrong)
    notes = Notes()
    ended, _ = await in_turn(house, notes, "a", "b", "c")
    assert [ended[0], ended[2]] == ["a", "c"]
    assert isinstance(ended[1], DBAPIError)
    assert "b" not in [words for one in notes.rounds for words in one]
    assert await told(house) == {"a": DONE, "c": DONE}


async def test_no_call_of_a_group_begins_before_its_attempt_is_committed(
    house: House, neighbour: House
) -> None:
    seen: list[int] = []

    async def look(asked: Sequence[Asked[Note]]) -> Answers:
        there = {row.request_id for row in await neighbour.audit() if row.phase == "attempted"}
        assert {one.uow.actor.request_id for one in asked} <= there
        seen.append(len(asked))
        return [Ok(await write_note(*one)) for one in asked]

    looking = SetBased(look)

    async def often(name: str) -> None:
        for number in range(4):
            words = f"{name}{number}"
            await house.runner.run(looking, Note(words), caller(words))

    await asyncio.gather(*[often(name) for name in "abcdef"])
    assert sum(seen) == len(await house.notes()) == 24
    assert {len(phases) for phases in (await told(house)).values()} == {2}


async def test_a_refusal_in_a_group_is_one_callers_own(house: House) -> None:
    notes = Notes()
    ended = await together(house, notes, "a", "no such", "b", ("no key", key("k")))
    assert [type(one) for one in ended] == [str, NotFound, str, NotFound]
    assert notes.rounds == [["a", "no such", "b", "no key"]]
    assert await house.notes() == ["a", "b"]
    refused = ["attempted", "not_found"]
    assert await told(house) == {"a": DONE, "no such": refused, "b": DONE, "no key": refused}
    assert await house.kept_keys() == 0


async def test_a_key_that_stands_twice_in_a_group_is_used_once(house: House) -> None:
    notes = Notes()
    ended = await together(
        house, notes, ("x", key("k")), ("again", key("k")), ("y", key("k", "another")), "z"
    )
    assert ended[:2] == [Done("x", created("x")), Replayed(created("x"))]
    assert isinstance(ended[2], IdempotencyConflict)
    assert ended[3] == "z"
    assert notes.rounds == [["x", "z"]]
    assert await house.notes() == ["x", "z"]
    told_of = await told(house)
    assert told_of["again"] == DONE
    assert told_of["y"] == ["attempted", "idempotency_conflict"]
    assert await house.kept_keys() == 1


async def test_a_refused_call_leaves_its_key_to_the_next_in_its_group(house: House) -> None:
    notes = Notes()
    ended = await together(house, notes, ("no", key("k")), ("yes", key("k")))
    assert isinstance(ended[0], NotFound)
    assert ended[1] == Done("yes", created("yes"))
    assert await house.notes() == ["yes"]


async def test_what_was_answered_before_is_replayed_in_a_group(house: House) -> None:
    notes = Notes()
    first = [(f"n{n}", key(f"k{n}")) for n in range(3)]
    await together(house, notes, *first)
    ended = await together(house, notes, *first, ("new", key("k9")), ("x", key("k1", "another")))
    assert ended[:4] == [
        *[Replayed(created(f"n{n}")) for n in range(3)],
        Done("new", created("new")),
    ]
    assert isinstance(ended[4], IdempotencyConflict)
    assert notes.rounds == [["n0", "n1", "n2"], ["new"]]
    assert await house.notes() == ["n0", "n1", "n2", "new"]


async def test_a_key_in_use_elsewhere_keeps_nobody_else_from_the_group(postgres_url: str) -> None:
    house, neighbour, notes = House(postgres_url), House(postgres_url), Notes()
    async with neighbour.database.begin() as connection:
        assert await UnitOfWork(connection, TELLER, 0).claim([key("k").digest]) == []
        ended = await together(house, notes, ("x", key("k")), ("y", key("j")))
    assert isinstance(ended[0], IdempotencyInProgress)
    assert ended[1] == Done("y", created("y"))
    assert await house.notes() == ["y"]
    for made in (house, neighbour):
        await made.database.close()


async def test_one_calls_defect_fails_nobody_else_and_all_others_run_once(house: House) -> None:
    notes = Notes()
    ended = await together(house, notes, "a", "bad", "b", ("c", key("c")))
    assert [ended[0], ended[2], ended[3]] == ["a", "b", Done("c", created("c"))]
    assert isinstance(ended[1], ZeroDivisionError)
    assert sorted(await house.notes()) == ["a", "b", "c"]
    assert await told(house) == {
        "a": DONE, "b": DONE, "c": DONE, "bad": ["attempted", "internal_error"]
    }  # fmt: skip


async def test_a_row_of_the_trail_that_cannot_be_written_fails_its_own_call(house: House) -> None:
    wrong = "NEW.request_id = 'b' AND NEW.phase = 'succeeded'"
    await owner.refuse_inserts(house.url, "audit_events", wrong)
    ended = await together(house, Notes(), "a", "b", "c")
    assert [ended[0], ended[2]] == ["a", "c"]
    assert isinstance(ended[1], DBAPIError)
    assert sorted(await house.notes()) == ["a", "c"]
    assert (await told(house))["b"] == ["attempted", "internal_error"]


async def test_a_group_that_meets_a_busy_database_runs_again_whole(house: House) -> None:
    def busy(_words: list[str]) -> None:
        if len(notes.rounds) == 1:
            raise RetryTransaction("once more")

    notes = Notes(busy)
    assert await together(house, notes, "a", "b") == ["a", "b"]
    assert notes.rounds == [["a", "b"]] * 2
    assert await house.notes() == ["a", "b"]


async def test_a_group_that_stays_busy_tells_each_by_a_refusal_of_its_own(house: House) -> None:
    def busy(_words: list[str]) -> None:
        raise RetryTransaction("never")

    ended = await together(house, Notes(busy), "a", "b")
    assert [type(one) for one in ended] == [Unavailable, Unavailable]
    assert ended[0] is not ended[1]
    assert await house.notes() == []
    assert await told(house) == {one: ["attempted", "unavailable"] for one in "ab"}


async def test_a_group_whose_commit_fails_is_not_run_again(house: House) -> None:
    """Nobody knows whether a commit that went wrong has been carried out."""
    notes = Notes()

    def fail(_connection: Any) -> None:
        if notes.rounds:
            event.remove(house.database.writer.sync_engine, "commit", fail)
            raise ZeroDivisionError

    event.listen(house.database.writer.sync_engine, "commit", fail)
    ended = await together(house, notes, "a", "b")
    assert [type(one) for one in ended] == [ZeroDivisionError, ZeroDivisionError]
    assert notes.rounds == [["a", "b"]]
    assert await told(house) == {one: ["attempted", "internal_error"] for one in "ab"}


async def test_a_group_is_committed_though_its_callers_went_away(house: House) -> None:
    notes = Notes()
    inside, leave = asyncio.Event(), asyncio.Event()

    async def hold(asked: Sequence[Asked[Note]]) -> Answers:
        inside.set()
        await leave.wait()
        return await notes._write(asked)

    held = SetBased(hold)
    callers = [
        asyncio.create_task(house.runner.run(held, Note(words), caller(words))) for words in "abc"
    ]
    await inside.wait()
    callers[0].cancel()
    callers[2].cancel()
    draining = asyncio.create_task(house.runner.drain())
    await asyncio.sleep(0.01)
    assert not draining.done()
    leave.set()
    await draining
    assert await callers[1] == "b"
    assert await house.notes() == ["a", "b", "c"]
    assert await told(house) == dict.fromkeys("abc", DONE)


async def test_a_call_that_cancels_itself_ends_nobody_else(house: House) -> None:
    def give_up(words: list[str]) -> None:
        if "leave" in words:
            raise asyncio.CancelledError

    ended = await together(house, Notes(give_up), "a", "leave", "b")
    assert [ended[0], ended[2]] == ["a", "b"]
    assert isinstance(ended[1], asyncio.CancelledError)
    assert sorted(await house.notes()) == ["a", "b"]


async def test_a_call_alone_is_a_group_of_one_and_what_goes_wrong_is_its_own(house: House) -> None:
    notes = Notes()
    assert await together(house, notes, "a") == ["a"]
    for words, kind in (("no", NotFound), ("bad", ZeroDivisionError)):
        (ended,) = await together(house, notes, words)
        assert isinstance(ended, kind)
    assert notes.rounds == [["a"], ["no"], ["bad"]]  # a defect that is alone is not met twice
    assert await house.notes() == ["a"]


async def test_groups_of_two_processes_and_other_commands_make_one_chain(
    house: House, neighbour: House
) -> None:
    async def often(made: House, notes: Notes, name: str) -> None:
        for number in range(4):
            assert await together(made, notes, f"{name}.{number}") == [f"{name}.{number}"]
            await made.runner.run(write_note, Note("plain"), caller(f"{name}.{number}"))

    ours, theirs = Notes(), Notes()
    await asyncio.gather(
        *[often(house, ours, f"h{n}") for n in range(4)],
        *[often(neighbour, theirs, f"n{n}") for n in range(4)],
    )
    found = await told(house)
    assert len(found) == 32
    assert all(sorted(phases) == sorted(DONE * 2) for phases in found.values())
    assert len(await house.notes()) == 64
