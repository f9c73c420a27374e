"""What people write: whether there is anything to see in it, and how it is found again."""

import re
import unicodedata
from typing import Final

_IGNORED: Final = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Unicode's Default_Ignorable_Code_Point: what is shown as nothing at all."""
_MARKS: Final = ("Mn", "Me")
_INVISIBLE: Final = re.compile(f"[{_IGNORED}]+")
_BLANK: Final = re.compile(rf"[\s\u2800{_IGNORED}]*")


def is_blank(text: str) -> bool:
    """Whether nothing can be seen: no characters, or only spaces and invisible ones."""
    return _BLANK.fullmatch(text) is not None


def fold(text: str) -> str:
    """The form in which texts are compared: no case, no compatibility forms, nothing invisible.

    Close to Unicode's toNFKC_Casefold; marks stay. What is folded already stays as it is.
    """
    if text.isascii():
        return text.lower()
    seen = unicodedata.normalize("NFD", _INVISIBLE.sub("", text)).casefold()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", seen).casefold())


def search_text(*texts: str | None) -> str:
    """What is stored of some texts for ``search_words``: folded, and again without their marks.

    So one who types no marks finds all, and one who types some finds those alone.
    """
    folded = "\n".join(fold(text) for text in texts if text)
    if folded.isascii():
        return folded
    parts = unicodedata.normalize("NFKD", folded)
    bare = "".join(each for each in parts if unicodedata.category(each) not in _MARKS)
    bare = unicodedata.normalize("NFKC", bare)
    return folded if bare == folded else f"{folded}\n{bare}"


def search_words(text: str) -> list[str]:
    """The words that somebody looks for: each has to stand somewhere in a ``search_text``."""
    return list(dict.fromkeys(fold(text).split()))
