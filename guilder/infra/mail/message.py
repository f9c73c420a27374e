"""A mail as it travels: MIME with text and HTML, and the headers that machines look at."""

from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime
from typing import Final

from email_validator import EmailNotValidError, validate_email

from guilder.core.clock import to_datetime
from guilder.core.ports import Mail, MailRefused

_LONGEST_PLAIN_LINE: Final = 900


def recipient_of(mail: Mail) -> Address:
    """The address with its domain as mail servers know it.

    Raises ``MailRefused`` for an impossible one.
    """
    try:
        found = validate_email(
            mail.to, check_deliverability=False, test_environment=True, globally_deliverable=False
        )
    except EmailNotValidError:
        raise MailRefused("the address is not one") from None
    return Address(username=found.local_part, domain=found.ascii_domain)


def message_id(mail: Mail, sender: Address) -> str:
    """The same for the same mail, so that one which arrives twice is known."""
    return f"<{mail.id}@{sender.domain}>"


def message_of(mail: Mail, sender: Address, at_us: int) -> EmailMessage:
    """The whole message; ``at_us`` is its date."""
    recipient = recipient_of(mail)
    message = EmailMessage(policy=SMTP if recipient.username.isascii() else SMTPUTF8)
    message["From"] = sender
    message["To"] = recipient
    message["Subject"] = mail.subject
    message["Date"] = format_datetime(to_datetime(at_us))
    message["Message-ID"] = message_id(mail, sender)
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message.set_content(mail.text, cte=_encoding(mail.text))
    message.add_alternative(mail.html, subtype="html", cte=_encoding(mail.html))
    return message


def _encoding(text: str) -> str:
    """As it stands where that is safe, so that eyes can read it in a file; else quoted."""
    short = all(len(line) <= _LONGEST_PLAIN_LINE for line in text.splitlines())
    return "7bit" if text.isascii() and short else "quoted-printable"
