"""What differs from run to run is numbered by first appearance; all else stays byte for byte."""

import re
from typing import Final

_KINDS: Final = {
    "jwt": r"eyJ[\w-]+\.[\w-]+\.[\w-]+",
    "id": r"\b(?!01[0-9]{6}-0000-7000-8000-)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b",
    "upper": r"\b(?=[0-9-]*[A-F])[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12}\b",
    "hash": r'(?<="hash_after":")[0-9a-f]{64}|(?<="hash_before":")[0-9a-f]{64}',
    "challenge": r'(?<="challenge":")[\w-]+',
    "token": r'(?<=["=])[\w-]{43}(?=["\s<&])',
    "key": r"(?<=<)[0-9a-f]{32}(?=@)",
    "cursor": r'(?<="next_cursor":")[\w-]{75}(?=")',
    "credential": r'(?<=[dI]":")[\w-]{22}(?=")',
    "secret": r"\b[A-Z2-7]{32}\b",
    "recovery": r"\b[A-HJ-NP-Z2-9]{4}(?:-[A-HJ-NP-Z2-9]{4}){6}\b",
    "drawing": r'(?<= d=\\")[^"\\]+',
    "latency": r'(?<="latency_ms":)[0-9.]+',
    "measured": r'(?<="free_bytes":)[0-9]+|(?<="open":)[0-9]+|(?<="limit":)[0-9]{4,}(?=})'
    r'|(?<="waiting_seconds":)[0-9.]+|(?<="batch_seconds":)[0-9.]+|(?<="lag_seconds":)[0-9.]+',
    "boundary": r"={15}[0-9]+==",
}
"""In the order in which they are tried. Ids that the code or a test has written out stay."""

_VOLATILE: Final = re.compile("|".join(f"(?P<{kind}>{how})" for kind, how in _KINDS.items()))
_ASKED: Final = re.compile(
    r'(?P<blob>(?<=")[\w-]{44,}(?="))|(?P<code>(?<=code":")[0-9]{6}(?="))'
    r'|(?P<recovery>(?<=code":")[a-z2-9-]{34}(?="))'
    r'|(?P<handle>(?<=":")[\w-]{22}(?="))'
)
_UNNUMBERED: Final = frozenset({"latency", "measured", "drawing", "boundary"})


class Placeholders:
    """Knows what every volatile value of a walk is called."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def conceal(self, text: str) -> str:
        """The text with a name in the place of each volatile value."""
        return _VOLATILE.sub(self._name, text)

    def conceal_asked(self, text: str) -> str:
        """The same for what a request says: cursors it was given, codes, what browsers sign."""
        for value, name in self._names.items():
            if name.startswith("<cursor"):
                text = text.replace(value, name)
        return _ASKED.sub(lambda found: f"<{found.lastgroup}>", self.conceal(text))

    def _name(self, found: re.Match[str]) -> str:
        kind, value = str(found.lastgroup), found[0]
        if kind in _UNNUMBERED:
            return f"<{kind}>"
        if value not in self._names:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._names[value] = f"<{kind}:{self._counts[kind]}>"
        return self._names[value]
