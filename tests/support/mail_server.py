"""A mail server in the test's own event loop, on a port of the loopback interface."""

import asyncio
import datetime
import ipaddress
import ssl
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USER, PASSWORD = "bank@relay", "p@ss:/word"


class Server:
    """Takes mail, or answers as ``replies`` tells: a reply by the name of a command."""

    def __init__(self) -> None:
        self.port = 0
        self.taken: list[Envelope] = []
        self.encrypted: list[bool] = []
        self.users: list[str] = []
        self.replies: dict[str, str] = {}
        self.sleeps: dict[str, float] = {}

    def messages(self) -> list[EmailMessage]:
        """What has arrived, read."""
        return [message_of(envelope.original_content or b"") for envelope in self.taken]

    async def handle_MAIL(  # noqa: N802 - the name the library calls
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if (reply := await self._answer("MAIL")) is None:
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return reply or "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if (reply := await self._answer("RCPT")) is None:
            envelope.rcpt_tos.append(address)
            envelope.rcpt_options.extend(options)
        return reply or "250 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        if (reply := await self._answer("DATA")) is None:
            self.taken.append(envelope)
            assert server.transport is not None
            self.encrypted.append(server.transport.get_extra_info("ssl_object") is not None)
        return reply or "250 OK"

    async def _answer(self, command: str) -> str | None:
        await asyncio.sleep(self.sleeps.get(command, 0))
        return self.replies.get(command)

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any
    ) -> AuthResult:
        if not isinstance(data, LoginPassword):
            return AuthResult(success=False)
        fits = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        self.users += [data.login.decode()] if fits else []
        return AuthResult(success=fits, handled=fits)


def message_of(data: bytes) -> EmailMessage:
    found = message_from_bytes(data, policy=policy.default)
    assert isinstance(found, EmailMessage)
    return found


@asynccontextmanager
async def serving(
    *, tls: ssl.SSLContext | None = None, implicit: bool = False, **options: Any
) -> AsyncIterator[Server]:
    """A server as long as the block lasts; with ``tls`` it offers STARTTLS, or begins with it."""
    server = Server()
    own = {"hostname": "mail.test", "enable_SMTPUTF8": True, **options}
    if tls is not None and not implicit:
        own["tls_context"] = tls
    if options.get("auth_required"):
        own = {"authenticator": server.authenticate, "auth_require_tls": not implicit} | own

    def meet() -> SMTP:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it cannot see that a connection begins with TLS
            return SMTP(server, **own)

    listening = await asyncio.get_running_loop().create_server(
        meet, "127.0.0.1", 0, ssl=tls if implicit else None
    )
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        await listening.wait_closed()


@asynccontextmanager
async def saying(
    *lines: bytes, closes: bool = False, until: tuple[bytes, bytes] | None = None
) -> AsyncIterator[int]:
    """A server that says these lines, whatever it hears, and then is silent; gives its port.

    ``until`` is a line to wait for after that, and what is said to it.
    """
    over = asyncio.Event()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number, line in enumerate(lines):
            if number:
                await reader.readline()
            writer.write(line + b"\r\n")
        if until is not None:
            while (await reader.readline()).strip() != until[0]:
                pass
            writer.write(until[1] + b"\r\n")
        if not closes:
            await over.wait()
        writer.close()

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        over.set()
        server.close()
        await server.wait_closed()


def certificates(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context for ``localhost`` and 127.0.0.1, and that of a client who trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    begun = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begun)
        .not_valid_after(begun.replace(year=2120))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    pem = serialization.Encoding.PEM
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(pem)
    )
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(path)
    theirs = ssl.create_default_context(cadata=certificate.public_bytes(pem).decode())
    return ours, theirs
