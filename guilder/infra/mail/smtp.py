"""Mail by SMTP: a connection a mail, encrypted where the server can, every wait bounded."""

import asyncio
import contextlib
import ssl
from email.headerregistry import Address
from typing import Final

import aiosmtplib

from guilder.core.clock import Clock
from guilder.core.ports import Mail, MailNotSent, MailRefused
from guilder.infra.mail.addresses import SmtpRoute
from guilder.infra.mail.message import message_of, recipient_of

STEP_SECONDS: Final = 10.0
"""How long the server may take to connect and for each of its answers."""
WHOLE_SECONDS: Final = 25.0
"""How long a mail may take altogether; less than the dispatcher waits for a subscriber."""
LEAVE_SECONDS: Final = 1.0

_FOR_GOOD: Final = 500


class SmtpMailer:
    """Hands mail to a server.

    STARTTLS is used when the server offers it, and demanded when there is a password to send;
    certificates are checked. A refusal of the address or of the message with a 5xx code is for
    good; everything else, a wrong password too, may be mended and is worth another try.
    """

    def __init__(
        self,
        server: SmtpRoute,
        sender: Address,
        clock: Clock,
        *,
        tls: ssl.SSLContext | None = None,
        step_seconds: float = STEP_SECONDS,
        whole_seconds: float = WHOLE_SECONDS,
    ) -> None:
        self._server = server
        self._sender = sender
        self._clock = clock
        self._tls = tls or ssl.create_default_context()
        self._step_seconds = step_seconds
        self._whole_seconds = whole_seconds

    async def send(self, mail: Mail) -> None:
        """Return when the server has taken it.

        Raises ``MailNotSent``, or ``MailRefused`` for good.
        """
        recipient = recipient_of(mail)
        message = message_of(mail, self._sender, self._clock.now_us())
        options = [] if recipient.username.isascii() else ["SMTPUTF8"]
        client = self._client()
        try:
            async with asyncio.timeout(self._whole_seconds):
                await client.connect()
                await client.sendmail(
                    self._sender.addr_spec,
                    [recipient.addr_spec],
                    bytes(message),
                    mail_options=options,
                )
            await _take_leave(client)
        except aiosmtplib.SMTPRecipientsRefused as refused:
            raise _outcome("the recipient", refused.recipients[0].code) from None
        except (aiosmtplib.SMTPRecipientRefused, aiosmtplib.SMTPDataError) as refused:
            raise _outcome("the mail", refused.code) from None
        except aiosmtplib.SMTPResponseException as error:
            told = f"{type(error).__name__}, the server answered {error.code}"
            raise MailNotSent(told) from None
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise MailNotSent(type(error).__name__) from None
        finally:
            client.close()

    def _client(self) -> aiosmtplib.SMTP:
        server = self._server
        demanded = True if server.user is not None else None
        return aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.user,
            password=server.password,
            local_hostname=self._sender.domain,
            timeout=self._step_seconds,
            use_tls=server.implicit_tls,
            start_tls=False if server.implicit_tls else demanded,
            tls_context=self._tls,
        )


async def _take_leave(client: aiosmtplib.SMTP) -> None:
    """The mail is taken already: whatever the server says to QUIT, or does not, changes nothing."""
    with contextlib.suppress(aiosmtplib.SMTPException, OSError):
        async with asyncio.timeout(LEAVE_SECONDS):
            await client.quit()


def _outcome(what: str, code: int) -> MailNotSent:
    """A refusal for good, or one for now."""
    kind = MailRefused if code >= _FOR_GOOD else MailNotSent
    return kind(f"the server answered {code} to {what}")
