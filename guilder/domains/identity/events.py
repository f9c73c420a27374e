"""What has happened in identity. Payloads hold ids only: whom a letter goes to is looked up."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self
from uuid import UUID

from guilder.domains.identity.rules.changes import SecurityChange


@dataclass(frozen=True, slots=True)
class LetterRequested:
    """Somebody asked for a letter to an address, which may be nobody's."""

    type: ClassVar[str] = "identity.letter_asked"
    letter_id: UUID

    @property
    def stream(self) -> str:
        """A stream of its own, so that it tells nothing about whose address it was."""
        return f"letter:{self.letter_id}"

    def payload(self) -> Mapping[str, object]:
        """Which letter."""
        return {"letter_id": str(self.letter_id)}

    @classmethod
    def read(cls, payload: Mapping[str, Any]) -> Self:
        """The event of a payload."""
        return cls(UUID(payload["letter_id"]))


@dataclass(frozen=True, slots=True)
class PasswordChanged:
    """A user has another password."""

    type: ClassVar[str] = "identity.password_changed"
    user_id: UUID
    device_info: str | None
    letter_id: UUID | None = None
    """Of the letter that tells it, where a reset left factors that it brings a way to remove."""

    @property
    def stream(self) -> str:
        """In order for each user."""
        return f"user:{self.user_id}"

    def payload(self) -> Mapping[str, object]:
        """Who, on which device, and by which letter it is told."""
        told = {"user_id": str(self.user_id), "device_info": self.device_info}
        return told if self.letter_id is None else {**told, "letter_id": str(self.letter_id)}

    @classmethod
    def read(cls, payload: Mapping[str, Any]) -> Self:
        """The event of a payload."""
        letter_id = payload.get("letter_id")
        return cls(
            UUID(payload["user_id"]),
            payload["device_info"],
            None if letter_id is None else UUID(letter_id),
        )


@dataclass(frozen=True, slots=True)
class NewDeviceSignedIn:
    """A session was opened on a device from which its user had not signed in before."""

    type: ClassVar[str] = "identity.signed_in_anew"
    user_id: UUID
    session_id: UUID

    @property
    def stream(self) -> str:
        """In order for each user."""
        return f"user:{self.user_id}"

    def payload(self) -> Mapping[str, object]:
        """Who, and which session."""
        return {"user_id": str(self.user_id), "session_id": str(self.session_id)}

    @classmethod
    def read(cls, payload: Mapping[str, Any]) -> Self:
        """The event of a payload."""
        return cls(UUID(payload["user_id"]), UUID(payload["session_id"]))


@dataclass(frozen=True, slots=True)
class SecurityChanged:
    """How a user signs in has changed, or what they may do.

    ``session_id`` is where they did it themselves; None is for the bank, or before a sign-in.
    """

    type: ClassVar[str] = "identity.security_changed"
    user_id: UUID
    change: SecurityChange
    session_id: UUID | None = None

    @property
    def stream(self) -> str:
        """In order for each user."""
        return f"user:{self.user_id}"

    def payload(self) -> Mapping[str, object]:
        """Whose, what, and in which session."""
        return {
            "user_id": str(self.user_id),
            "change": self.change.name.lower(),
            "session_id": None if self.session_id is None else str(self.session_id),
        }

    @classmethod
    def read(cls, payload: Mapping[str, Any]) -> Self:
        """The event of a payload."""
        session_id = payload["session_id"]
        return cls(
            UUID(payload["user_id"]),
            SecurityChange[payload["change"].upper()],
            None if session_id is None else UUID(session_id),
        )


@dataclass(frozen=True, slots=True)
class LoginClosed:
    """A user has closed their login."""

    type: ClassVar[str] = "identity.login_closed"
    user_id: UUID

    @property
    def stream(self) -> str:
        """In order for each user."""
        return f"user:{self.user_id}"

    def payload(self) -> Mapping[str, object]:
        """Whose."""
        return {"user_id": str(self.user_id)}

    @classmethod
    def read(cls, payload: Mapping[str, Any]) -> Self:
        """The event of a payload."""
        return cls(UUID(payload["user_id"]))
