"""Lines and transfers: every filter alone and together, pages in both directions."""

from collections.abc import Callable, Sequence
from itertools import product
from random import Random
from typing import Any

import pytest

from guilder.core.clock import DAY_US
from guilder.core.errors import InvalidCursor
from guilder.core.page import Page, PageRequest
from guilder.domains.ledger import queries
from guilder.domains.ledger.queries import LineFilter, LineRow, TransferRow
from guilder.domains.ledger.repository import history
from guilder.domains.ledger.rules.state import Kind
from guilder.domains.ledger.store.postgres import COPY_FROM
from tests.domains.ledger.branch import Branch
from tests.domains.ledger.desk import NOW, about, capture, hold, pay

ALL = PageRequest(100)


@pytest.fixture
async def people(branch: Branch) -> tuple[int, int, int]:
    """Alice, Bob and Carol, who has nothing to do with either; a hold here and there."""
    alice, bob, carol = [await branch.open(1_000) for _ in range(3)]
    texts = ["Rent May", "rent June", "100% off_er", "100 percent offXer", None]
    for day in range(3):
        for index, words in enumerate(texts):
            give = (alice, bob) if index % 2 else (bob, alice)
            await branch.said(
                pay(*give, 10 * (index + 1) + day, description=words, reference=f"REF-{day}{index}")
            )
        (held,) = await branch.post(hold(alice, bob, 50, description="rent held"))
        await branch.said(capture(held.number, 5) if day else about(Kind.RELEASE, held.number))
        await branch.said(pay(carol, branch.settlement, 1))
        branch.clock.advance(days=1)
    return alice, bob, carol


async def lines(
    branch: Branch, number: int, wanted: LineFilter, page: PageRequest = ALL, **more: bool
) -> Page[LineRow]:
    return await branch.ask(queries.lines, number, wanted, page, **more)


def matches(line: LineRow, wanted: LineFilter) -> bool:
    """The filter as a sentence, not as SQL."""
    t = line
    words = f"{t.description or ''}\n{t.reference or ''}".lower()
    return all((
        wanted.from_us is None or t.booked_at >= wanted.from_us,
        wanted.to_us is None or t.booked_at < wanted.to_us,
        wanted.credit is None or (line.delta > 0) == wanted.credit,
        wanted.min_amount is None or t.amount >= wanted.min_amount,
        wanted.max_amount is None or t.amount <= wanted.max_amount,
        wanted.text is None or wanted.text.lower() in words,
    ))  # fmt: skip


async def test_lines_are_the_newest_first_and_leave_out_what_moved_nothing(
    branch: Branch, people: tuple[int, int, int]
) -> None:
    alice, bob, _ = people
    found = (await lines(branch, alice, LineFilter())).items
    numbers = [line.transfer_id for line in found]
    assert numbers == sorted(numbers, reverse=True)
    assert len(found) == 1 + 3 * 5 + 2
    assert Kind.HOLD not in {line.kind for line in found}
    balance = 0
    for line in reversed(found):
        side = 1 if line.credit_account == alice else -1
        assert line.delta == side * line.amount
        balance += line.delta
        assert line.balance_after == balance
        assert alice in (line.debit_account, line.credit_account)
    assert [balance] == await branch.posted(alice)
    assert bob


BOUNDS: dict[str, Sequence[Any]] = {
    "from_us": (None, NOW + DAY_US, NOW + DAY_US + 1),
    "to_us": (None, NOW + DAY_US + 1, NOW + 2 * DAY_US),
    "credit": (None, True, False),
    "min_amount": (None, 21),
    "max_amount": (None, 41),
    "text": (None, "RENT", "ref-1"),
}


@pytest.mark.parametrize("name", BOUNDS)
async def test_each_filter_alone(branch: Branch, people: tuple[int, int, int], name: str) -> None:
    every = (await lines(branch, people[0], LineFilter())).items
    for value in BOUNDS[name][1:]:
        wanted = LineFilter(**{name: value})
        expected = [line for line in every if matches(line, wanted)]
        assert 0 < len(expected) < len(every)
        assert list((await lines(branch, people[0], wanted)).items) == expected


async def test_all_filters_together(branch: Branch, people: tuple[int, int, int]) -> None:
    every = (await lines(branch, people[0], LineFilter())).items
    sizes = set()
    combinations = list(product(*BOUNDS.values()))
    for values in Random(2).sample(combinations, 80):
        wanted = LineFilter(*values)
        found = list((await lines(branch, people[0], wanted)).items)
        assert found == [line for line in every if matches(line, wanted)]
        sizes.add(len(found))
    assert len(sizes) > 6


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ("100%", 3), ("off_er", 3), ("offxer", 3), ("%", 3), ("_", 3), ("\\", 0), ("'", 0),
        ("REF-0", 5), ("rent", 6), ("held", 0), ("", 18), (" ", 18),
        ("percent 100", 3), ("rent 100%", 0), ("rent ref-1", 2), ('"', 0),
    ],
)  # fmt: skip
async def test_text_is_looked_for_as_it_stands(
    branch: Branch, people: tuple[int, int, int], words: str, count: int
) -> None:
    found = (await lines(branch, people[0], LineFilter(text=words))).items
    assert len(found) == count


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("CAFÉ", "café"), ("café", "CAFÉ"), ("CAFÉ", "cafe"), ("Cafe\u0301", "caf\u00e9"),
        ("АРЕНДЫ", "аренды"), ("аренды", "АРЕНДЫ"), ("STRASSE", "Straße"), ("Straße", "STRASSE"),
        ("ΚΏΣΤΑΣ", "Κώστας"), ("Κώστας", "κωστας"), ("İlker", "İlker"), ("İlker", "ILKER"),
        ("caffè", "caffe"), ("Re\u00adnt", "rent"), ("Rent", "re\u200bnt"), ("ﬁsh", "FISH"),
        ("１２ａ", "12A"), ("שָׁלוֹם", "שלום"), ("50%", "50%"), ("don't", "DON'T"), ("@nasa", "@NASA"),
        ("a,b", "a,b"), ("20.04", "20.04"), ('"', '"'), ("Miete für März", "märz fur miete"),
    ],
)  # fmt: skip
async def test_words_are_found_in_any_case_and_without_marks(
    branch: Branch, said: str, words: str
) -> None:
    alice = await branch.open()
    await branch.said(
        pay(branch.settlement, alice, 1, description=said),
        pay(branch.settlement, alice, 2, reference=said),
        pay(branch.settlement, alice, 4, description="other", reference="words"),
        pay(branch.settlement, alice, 8),
    )
    found = (await lines(branch, alice, LineFilter(text=words))).items
    assert [line.amount for line in found] == [2, 1]


@pytest.mark.parametrize(
    ("said", "words"),
    [("cafe", "café"), ("Rent", "rents"), ("one", "one two"), ("a%b", "a_b"), ("ab", "a b c")],
)
async def test_marks_that_were_typed_and_every_word_count(
    branch: Branch, said: str, words: str
) -> None:
    alice = await branch.open()
    await branch.said(pay(branch.settlement, alice, 1, description=said))
    assert (await lines(branch, alice, LineFilter(text=words))).items == []


@pytest.mark.parametrize("count", [1, COPY_FROM, 100])
async def test_words_are_kept_of_every_transfer_that_has_some(branch: Branch, count: int) -> None:
    alice = await branch.open()
    await branch.said(
        *[
            pay(branch.settlement, alice, n, description=f"Né {n}" if n % 2 else None)
            for n in range(1, count + 1)
        ]
    )
    stored = await branch.rows("SELECT transfer_id, folded FROM ledger_search ORDER BY 1")
    assert stored == [(n, f"né {n}\nne {n}") for n in range(1, count + 1, 2)]


@pytest.mark.parametrize("oldest_first", [False, True])
@pytest.mark.parametrize("limit", [1, 4, 17, 18, 19])
async def test_pages_follow_each_other_without_a_gap_or_a_repeat(
    branch: Branch, people: tuple[int, int, int], limit: int, oldest_first: bool
) -> None:
    every = list((await lines(branch, people[0], LineFilter(), oldest_first=oldest_first)).items)
    assert len(every) == 18
    wanted = LineFilter()
    got: list[LineRow] = []
    request = PageRequest(limit)
    while True:
        page = await lines(branch, people[0], wanted, request, oldest_first=oldest_first)
        assert len(page.items) <= limit
        got += page.items
        if page.next_cursor is None:
            break
        # What is booked meanwhile does not shift the pages.
        if not oldest_first:
            await branch.said(pay(branch.settlement, people[0], 1))
        request = PageRequest(limit, page.next_cursor)
    assert got == every


async def test_an_offset_skips_lines_after_the_cursor(
    branch: Branch, people: tuple[int, int, int]
) -> None:
    every = list((await lines(branch, people[0], LineFilter())).items)
    page = await lines(branch, people[0], LineFilter(), PageRequest(3, None, 5))
    assert list(page.items) == every[5:8]
    page = await lines(branch, people[0], LineFilter(), PageRequest(3, None, 16))
    assert (list(page.items), page.has_more) == (every[16:], False)
    after = str(every[1].transfer_id)
    page = await lines(branch, people[0], LineFilter(), PageRequest(3, after, 2))
    assert list(page.items) == every[4:7]


async def transfers(
    branch: Branch, numbers: Sequence[int], page: PageRequest = ALL
) -> Page[TransferRow]:
    return await branch.ask(queries.transfers_of, numbers, page, 10**18)


async def test_transfers_of_several_accounts_are_listed_once_each(
    branch: Branch, people: tuple[int, int, int]
) -> None:
    alice, bob, carol = people
    moved = await branch.rows(
        "SELECT id, debit_account, credit_account FROM ledger_transfers "
        "WHERE kind IN (1, 3, 4, 7) ORDER BY id DESC"
    )
    for numbers in ([alice], [carol], [alice, bob], [bob, carol, alice], [99], [99, carol]):
        expected = [no for no, *sides in moved if set(sides) & set(numbers)]
        page = await transfers(branch, numbers)
        assert [row.id for row in page.items] == expected
        assert not page.has_more


async def test_transfers_of_more_accounts_than_a_statement_takes(
    branch: Branch, people: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    every = await transfers(branch, people)
    strangers = list(range(1_000, 1_700))
    assert await transfers(branch, [*strangers[:350], *people, *strangers[350:]]) == every
    monkeypatch.setattr(history, "PARTS_A_STATEMENT", 1)
    assert await transfers(branch, people) == every
    page = await transfers(branch, people, PageRequest(4, str(every.items[2].id), 3))
    assert list(page.items) == list(every.items[6:10])


async def test_transfers_of_nobody_are_none(branch: Branch, people: tuple[int, int, int]) -> None:
    page = await transfers(branch, [])
    assert (list(page.items), page.next_cursor) == ([], None)
    assert people


@pytest.mark.parametrize("limit", [1, 5, 24, 25])
async def test_pages_of_transfers_follow_each_other(
    branch: Branch, people: tuple[int, int, int], limit: int
) -> None:
    every = list((await transfers(branch, people)).items)
    got: list[TransferRow] = []
    request = PageRequest(limit)
    while True:
        page = await transfers(branch, people, request)
        got += page.items
        if page.next_cursor is None:
            break
        request = PageRequest(limit, page.next_cursor)
    assert got == every
    page = await transfers(branch, people, PageRequest(4, str(every[2].id), 3))
    assert list(page.items) == every[6:10]


@pytest.mark.parametrize("after", ["", "x", "-1", "9" * 19])
async def test_a_cursor_that_is_no_number_is_refused(branch: Branch, after: str) -> None:
    asks: list[Callable[[], Any]] = [
        lambda: lines(branch, 1, LineFilter(), PageRequest(5, after)),
        lambda: transfers(branch, [1], PageRequest(5, after)),
    ]
    for ask in asks:
        with pytest.raises(InvalidCursor):
            await ask()
