"""Letters to people: what happened in identity, told by mail."""

from dataclasses import dataclass
from typing import Final

from guilder.core.actor import SYSTEM
from guilder.core.clock import HOUR_US, MINUTE_US, to_datetime
from guilder.core.events import Delivery
from guilder.core.letters import LetterTemplate, LetterWriter
from guilder.core.ports import Mail, Mailer
from guilder.core.tokens import LetterTokenSource, opaque_hash
from guilder.db.run import Runner
from guilder.domains.identity import queries
from guilder.domains.identity.commands.letters import SendLetter, send_letter
from guilder.domains.identity.events import LetterRequested, NewDeviceSignedIn, PasswordChanged
from guilder.domains.identity.rules.letters import Purpose
from guilder.domains.identity.rules.lockout import LOCK_US

_PACKAGE: Final = "guilder.domains.identity"
_UNKNOWN_DEVICE: Final = "unknown"


def _letter(name: str, *values: str) -> LetterTemplate:
    return LetterTemplate(_PACKAGE, name, frozenset(values))


VERIFY_EMAIL: Final = _letter("verify_email", "hours")
RESET_PASSWORD: Final = _letter("reset_password", "minutes")
ACCOUNT_LOCKED: Final = _letter("account_locked", "minutes")
CODES_GUESSED: Final = _letter("codes_guessed", "minutes")
PASSWORD_CHANGED: Final = _letter("password_changed", "at", "device")
NEW_SIGN_IN: Final = _letter("new_sign_in", "at", "device", "ip_address")
LETTERS: Final = (
    VERIFY_EMAIL,
    RESET_PASSWORD,
    ACCOUNT_LOCKED,
    CODES_GUESSED,
    PASSWORD_CHANGED,
    NEW_SIGN_IN,
)


@dataclass(frozen=True, slots=True)
class LetterSender:
    """Writes the letter that an event calls for, if any, and sends it.

    Called again for the same delivery it sends the same letter. ``address`` is the bank's own.
    """

    runner: Runner
    tokens: LetterTokenSource
    writer: LetterWriter
    mailer: Mailer
    address: str

    async def asked(self, event: LetterRequested, delivery: Delivery) -> None:
        """Send the letter that somebody has asked for, unless it should not go."""
        token = self.tokens.token(event.letter_id)
        command = SendLetter(event.letter_id, opaque_hash(token))
        found = await self.runner.run(send_letter, command, SYSTEM)
        if found is None:
            return
        letter, user = found
        await self.mailer.send(self._asked(letter.purpose, user.email, delivery.key, token))

    async def password_changed(self, event: PasswordChanged, delivery: Delivery) -> None:
        """Tell the user that there is another password."""
        user = await self.runner.view(queries.mailable_user, event.user_id)
        if user is None:
            return
        mail = self.writer.compose(
            PASSWORD_CHANGED, user.email, delivery.key, link=self._reset_link,
            at=_moment(delivery.created_at), device=event.device_info or _UNKNOWN_DEVICE,
        )  # fmt: skip
        await self.mailer.send(mail)

    async def signed_in_anew(self, event: NewDeviceSignedIn, delivery: Delivery) -> None:
        """Tell the user of a sign-in on a new device, but not of the very first."""
        user = await self.runner.view(queries.mailable_user, event.user_id)
        session = await self.runner.view(
            queries.session_if_not_first, event.user_id, event.session_id
        )
        if user is None or session is None:
            return
        mail = self.writer.compose(
            NEW_SIGN_IN, user.email, delivery.key, link=self._reset_link,
            at=_moment(session.created_at), device=session.device_info or _UNKNOWN_DEVICE,
            ip_address=session.ip_address,
        )  # fmt: skip
        await self.mailer.send(mail)

    def _asked(self, purpose: Purpose, to: str, key: str, token: str) -> Mail:
        compose, reset = self.writer.compose, self._reset_link
        minutes = (purpose.token_us or LOCK_US) // MINUTE_US
        match purpose:
            case Purpose.VERIFICATION:
                link, hours = (
                    f"{self.address}/verify-email#token={token}",
                    purpose.token_us // HOUR_US,
                )
                return compose(VERIFY_EMAIL, to, key, link=link, hours=hours)
            case Purpose.RESET:
                link = f"{reset}#token={token}"
                return compose(RESET_PASSWORD, to, key, link=link, minutes=minutes)
            case Purpose.LOCK:
                return compose(ACCOUNT_LOCKED, to, key, link=reset, minutes=minutes)
            case Purpose.CODES:
                return compose(CODES_GUESSED, to, key, link=reset, minutes=minutes)

    @property
    def _reset_link(self) -> str:
        return f"{self.address}/reset-password"


def _moment(instant: int) -> str:
    return to_datetime(instant).strftime("%-d %B %Y, %H:%M UTC")
