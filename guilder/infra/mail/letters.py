"""The letters that the bank writes: what each says stands once, in a template of its slice.

From it both forms are made, the text by the parts of ``text.jinja`` and the HTML, in which every
value is escaped, by those of ``html.jinja``. No letter repeats what strangers can choose, such as
the name given at sign-up: somebody else's address must not be a way to send advertisements.
"""

import re
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    PackageLoader,
    PrefixLoader,
    StrictUndefined,
)

from guilder.core.letters import LetterTemplate
from guilder.core.ports import Mail

MAX_VALUE_LENGTH: Final = 200
MAX_LINK_LENGTH: Final = 1000
_FOLDER: Final = Path(__file__).with_name("templates")
_WIDTH: Final = 72
_NOT_SHOWN: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+"
)
_GAP: Final = re.compile(r"\n{3,}")
_LINK: Final = re.compile(r"https?://[A-Za-z0-9._~:/?#\[\]@!$&()*+,;=%-]+")


class Letters:
    """Writes ``letters`` in the name of a bank, ``address`` being where people reach it."""

    def __init__(self, bank: str, address: str, letters: Iterable[LetterTemplate]) -> None:
        known = {"bank": bank, "address": _checked_link(address)}
        packages = {letter.package for letter in letters}
        own = PrefixLoader({name: PackageLoader(name, "letters") for name in packages})
        loader = ChoiceLoader([FileSystemLoader(_FOLDER), own])
        self._text = _environment("text", loader, known, escape=False)
        self._html = _environment("html", loader, known, escape=True)

    def compose(
        self, letter: LetterTemplate, to: str, key: str, *, link: str, **values: str | int
    ) -> Mail:
        """The letter to ``to``; ``key`` (of the delivery) makes it the same mail at every attempt.

        The link is finished: whoever calls has put the secret into it, and keeps it nowhere. Raises
        ``ValueError`` for a link that is not a web address, and for other values than the letter's.
        """
        if values.keys() != letter.values:
            names = ", ".join(sorted(values.keys() ^ letter.values))
            raise ValueError(f"{letter.name}: {names}")
        shown = {name: _one_line(str(value)) for name, value in values.items()}
        shown["link"] = _checked_link(link)
        template = f"{letter.package}/{letter.name}.jinja"
        text = self._text.get_template(template).make_module(shown)
        html = self._html.get_template(template).render(shown)
        said = _GAP.sub("\n\n", str(text).strip())
        return Mail(key, to, str(vars(text)["subject"]), f"{said}\n", html)


def _environment(
    form: str, loader: BaseLoader, known: dict[str, str], *, escape: bool
) -> Environment:
    made = Environment(
        loader=loader,
        autoescape=escape,  # noqa: S701 - the text form is text
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["flow"] = _flow
    layout: dict[str, Any] = {"layout": f"{form}.jinja", "parts": f"{form}_parts.jinja"}
    made.globals.update(layout, **known)
    return made


def _flow(words: str) -> str:
    """A paragraph in lines that a mail shows whole; a long word stays in one piece."""
    return textwrap.fill(
        " ".join(words.split()), _WIDTH, break_long_words=False, break_on_hyphens=False
    )


def _one_line(value: str) -> str:
    """A value without line breaks, controls and marks that turn the text round, cut to a length."""
    return " ".join(_NOT_SHOWN.sub(" ", value).split())[:MAX_VALUE_LENGTH]


def _checked_link(link: str) -> str:
    if len(link) > MAX_LINK_LENGTH or not _LINK.fullmatch(link):
        raise ValueError("a link in a letter is a web address of ordinary characters")
    return link
