"""Letters that the bank writes: each is a template in its slice and one declaration there."""

from dataclasses import dataclass
from typing import Protocol

from guilder.core.ports import Mail


@dataclass(frozen=True, slots=True)
class LetterTemplate:
    """A letter: ``letters/<name>.jinja`` in the folder of ``package``.

    ``values`` are what it is told besides ``link``, by name.
    """

    package: str
    name: str
    values: frozenset[str]


class LetterWriter(Protocol):
    """Writes letters in the name of the bank."""

    def compose(
        self, letter: LetterTemplate, to: str, key: str, *, link: str, **values: str | int
    ) -> Mail:
        """The letter to ``to``; ``key`` (of the delivery) makes it the same mail at every attempt.

        The link is finished: whoever calls has put the secret into it, and keeps it nowhere. Raises
        ``ValueError`` for a link that is not a web address, and for other values than the letter's.
        """
        ...
