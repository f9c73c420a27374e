"""Mail that goes no further than this machine: onto the console, or into a folder."""

import asyncio
import logging
from collections.abc import Callable
from email.headerregistry import Address
from pathlib import Path
from typing import Final

from guilder.core.clock import Clock
from guilder.core.ports import Mail, MailNotSent
from guilder.infra.files import draft_of
from guilder.infra.mail.message import message_of, recipient_of

_RULE: Final = "-" * 72
_log = logging.getLogger(__name__)


class ConsoleMailer:
    """Shows mail on the console, for trying things out.

    With ``open_letters`` false (production) only that there was one is logged: what a mail says
    may let its reader in.
    """

    def __init__(self, show: Callable[[str], None], *, open_letters: bool) -> None:
        self._show = show
        self._open_letters = open_letters

    async def send(self, mail: Mail) -> None:
        """Show it whole, as one block."""
        recipient_of(mail)
        if not self._open_letters:
            _log.warning("a mail was not sent: GUILDER_MAIL_URL is console:", extra=_about(mail))
            return
        head = f"Mail to {mail.to}\nSubject: {mail.subject}\n"
        self._show(f"{_RULE}\n{head}\n{mail.text.strip()}\n{_RULE}")


class FileMailer:
    """Writes each mail into a folder as ``<id>.eml``, for its owner only.

    A mail that is sent again takes the place of its former copy; a file is never half there.
    """

    def __init__(self, folder: Path, sender: Address, clock: Clock) -> None:
        self._folder = folder
        self._sender = sender
        self._clock = clock

    async def send(self, mail: Mail) -> None:
        """Write the file. Raises ``MailNotSent`` when the folder does not allow it."""
        data = bytes(message_of(mail, self._sender, self._clock.now_us()))
        try:
            await asyncio.to_thread(_write, self._folder / f"{mail.id}.eml", data)
        except OSError as error:
            raise MailNotSent(f"the file could not be written (error {error.errno})") from None


def _write(path: Path, data: bytes) -> None:
    """Write a whole file beside ``path`` and move it there."""
    with draft_of(path, data) as draft:
        draft.replace(path)


def _about(mail: Mail) -> dict[str, object]:
    return {"fields": {"mail_id": mail.id, "subject": mail.subject}}
