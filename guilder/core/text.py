"""What people write: whether there is anything to see in it."""

import re
from typing import Final

_IGNORED: Final = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Unicode's Default_Ignorable_Code_Point: what is shown as nothing at all."""
_BLANK: Final = re.compile(rf"[\s\u2800{_IGNORED}]*")


def is_blank(text: str) -> bool:
    """Whether nothing can be seen: no characters, or only spaces and invisible ones."""
    return _BLANK.fullmatch(text) is not None
