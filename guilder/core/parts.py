"""The parts of a running bank, as whoever needs one finds it: by its class."""

from typing import cast


class Parts:
    """One object of each class: ``parts[Runner]`` is the runner, to the reader and to mypy.

    Raises ``ValueError`` when two are of one class.
    """

    __slots__ = ("by_class",)

    def __init__(self, *parts: object) -> None:
        self.by_class: dict[type, object] = {type(part): part for part in parts}
        if len(self.by_class) < len(parts):
            raise ValueError("two parts are of one class")

    def __getitem__[T](self, kind: type[T]) -> T:
        return cast(T, self.by_class[kind])

    def get[T](self, kind: type[T]) -> T | None:
        """The part of that class, None where there is none."""
        return cast("T | None", self.by_class.get(kind))
