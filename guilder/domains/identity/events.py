"""What has happened in identity. Payloads hold ids only: whom a letter goes to is looked up."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self
from uuid import UUID


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

    @property
    def stream(self) -> str:
        """In order for each user."""
        return f"user:{self.user_id}"

    def payload(self) -> Mapping[str, object]:
        """Who, and on which device."""
        return {"user_id": str(self.user_id), "device_info": self.device_info}

    @classmethod
    def read(cls, payload: Mapping[str, Any]) -> Self:
        """The event of a payload."""
        return cls(UUID(payload["user_id"]), payload["device_info"])


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
