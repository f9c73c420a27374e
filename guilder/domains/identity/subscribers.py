"""Letters to people: what happened in identity, told by mail."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from guilder.core.actor import SYSTEM
from guilder.core.clock import HOUR_US, MINUTE_US, to_datetime
from guilder.core.events import Delivery
from guilder.core.ports import Mail, Mailer
from guilder.core.tokens import LetterTokenSource, opaque_hash
from guilder.db.run import Runner
from guilder.domains.identity import queries
from guilder.domains.identity.commands.letters import (
    PruneLetters,
    SendLetter,
    prune_letters,
    send_letter,
)
from guilder.domains.identity.events import LetterAsked, PasswordChanged, SignedInAnew
from guilder.domains.identity.rules import LOCK_US, Purpose
from guilder.infra.mail.letters import Letter, Letters

TYPES: Final = (LetterAsked.type, PasswordChanged.type, SignedInAnew.type)
_UNKNOWN_DEVICE: Final = "unknown"


@dataclass(frozen=True, slots=True)
class LetterSender:
    """Writes the letter that an event calls for and sends it; ``address`` is the bank's own."""

    runner: Runner
    tokens: LetterTokenSource
    letters: Letters
    mailer: Mailer
    address: str

    async def handle(self, delivery: Delivery) -> None:
        """Send what the event calls for, if anything; the same letter when it is called again."""
        kinds: dict[str, Callable[[Delivery], Awaitable[Mail | None]]] = {
            LetterAsked.type: self._asked,
            PasswordChanged.type: self._password_changed,
            SignedInAnew.type: self._signed_in_anew,
        }
        mail = await kinds[delivery.type](delivery)
        if mail is not None:
            await self.mailer.send(mail)

    async def _asked(self, delivery: Delivery) -> Mail | None:
        letter_id = UUID(str(delivery.payload["letter_id"]))
        token = self.tokens.token(letter_id)
        command = SendLetter(letter_id, opaque_hash(token))
        found = await self.runner.run(send_letter, command, SYSTEM)
        if found is None:
            return None
        letter, user = found
        to, key = user.email, delivery.key
        match letter.purpose:
            case Purpose.VERIFICATION:
                hours = letter.purpose.token_us // HOUR_US
                link = f"{self.address}/verify-email#token={token}"
                return self.letters.compose(Letter.VERIFY_EMAIL, to, key, link=link, hours=hours)
            case Purpose.RESET:
                minutes = letter.purpose.token_us // MINUTE_US
                link = f"{self._reset_link}#token={token}"
                return self.letters.compose(
                    Letter.RESET_PASSWORD, to, key, link=link, minutes=minutes
                )
            case Purpose.LOCK | Purpose.CODES:
                lock = letter.purpose is Purpose.LOCK
                kind = Letter.ACCOUNT_LOCKED if lock else Letter.CODES_GUESSED
                minutes = LOCK_US // MINUTE_US
                return self.letters.compose(kind, to, key, link=self._reset_link, minutes=minutes)

    async def _password_changed(self, delivery: Delivery) -> Mail | None:
        user_id = UUID(str(delivery.payload["user_id"]))
        user = await self.runner.view(queries.user_to_write_to, user_id)
        if user is None:
            return None
        device = delivery.payload["device_info"] or _UNKNOWN_DEVICE
        return self.letters.compose(
            Letter.PASSWORD_CHANGED, user.email, delivery.key, link=self._reset_link,
            at=_moment(delivery.created_at), device=str(device),
        )  # fmt: skip

    async def _signed_in_anew(self, delivery: Delivery) -> Mail | None:
        user_id = UUID(str(delivery.payload["user_id"]))
        session_id = UUID(str(delivery.payload["session_id"]))
        user = await self.runner.view(queries.user_to_write_to, user_id)
        session = await self.runner.view(queries.session_if_not_first, user_id, session_id)
        if user is None or session is None:
            return None
        return self.letters.compose(
            Letter.NEW_SIGN_IN, user.email, delivery.key, link=self._reset_link,
            at=_moment(session.created_at), device=session.device_info or _UNKNOWN_DEVICE,
            ip_address=session.ip_address,
        )  # fmt: skip

    @property
    def _reset_link(self) -> str:
        return f"{self.address}/reset-password"


async def forget_old_letters(runner: Runner) -> int:
    """Prune what has expired; tells how many. Doing it in several processes does no harm."""
    if not await runner.view(queries.has_old_letters):
        return 0
    return await runner.run(prune_letters, PruneLetters(), SYSTEM)


def _moment(instant: int) -> str:
    return to_datetime(instant).strftime("%-d %B %Y, %H:%M UTC")
