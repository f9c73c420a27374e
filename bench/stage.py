"""The history that both services start with: who pays whom, so that both read as many lines.

Every account has one deposit; `ring` gives each account more lines than a page, and one more
account pays until its month has exactly the lines of the statement that is measured.
"""

from collections.abc import Sequence

PAGE = 50
FUNDS = 1_000_000_000

type Pair[T] = tuple[T, T]


def ring[T](accounts: Sequence[T]) -> list[Pair[T]]:
    """Let each account pay the ones after it in turn: just over half a page out, as many in.

    Needs two accounts at least.
    """
    count = len(accounts)
    return [
        (payer, accounts[(place + 1 + turn % (count - 1)) % count])
        for turn in range(PAGE // 2 + 1)
        for place, payer in enumerate(accounts)
    ]


def fan[T](payer: T, payees: Sequence[T], lines: int) -> list[Pair[T]]:
    """Let one account pay the others in turn until it has so many lines; its deposit is one."""
    return [(payer, payees[number % len(payees)]) for number in range(lines - 1)]
