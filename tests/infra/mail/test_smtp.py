"""SMTP when it does not go well: what is for now, what is for good, and how long it may take."""

import asyncio
import socket
import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from guilder.core.ports import MailNotSent, MailRefused
from guilder.infra.mail.addresses import SmtpRoute
from guilder.infra.mail.smtp import SmtpMailer
from tests.infra.mail.test_mailers import CLOCK, MAIL, SENDER
from tests.support.mail_server import PASSWORD, USER, certificates, saying, serving
from tests.support.waiting import LONG

pytestmark = pytest.mark.integration  # sockets

SECONDS = {"step_seconds": 0.4, "whole_seconds": 1.5}


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return certificates(tmp_path)


def mailer_to(port: int, **options: object) -> SmtpMailer:
    seconds = {name: options.pop(name, usual) for name, usual in SECONDS.items()}
    tls = options.pop("tls", None)
    assert tls is None or isinstance(tls, ssl.SSLContext)
    server = replace(SmtpRoute("127.0.0.1", port), **options)  # type: ignore[arg-type]
    return SmtpMailer(server, SENDER, CLOCK, tls=tls, **seconds)  # type: ignore[arg-type]


async def failure(mailer: SmtpMailer) -> MailNotSent:
    """How sending fails; it tells nothing of the address, the letter or the password."""
    with pytest.raises(MailNotSent) as failed:
        await mailer.send(MAIL)
    assert failed.value.__suppress_context__
    for secret in (MAIL.to, "Zm9v", PASSWORD):
        assert secret not in str(failed.value)
    return failed.value


async def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert not isinstance(await failure(mailer_to(unused.getsockname()[1])), MailRefused)


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("code", [421, 451, 452])
async def test_a_4xx_is_for_now(command: str, code: int) -> None:
    async with serving() as server:
        server.replies[command] = f"{code} not now, ada@example.com"
        failed = await failure(mailer_to(server.port))
        assert not isinstance(failed, MailRefused)
        assert str(code) in str(failed)
        assert server.taken == []


@pytest.mark.parametrize(("command", "for_good"), [("MAIL", False), ("RCPT", True), ("DATA", True)])
@pytest.mark.parametrize("code", [550, 554])
async def test_a_5xx_is_for_good_when_it_is_about_the_mail(
    command: str, code: int, for_good: bool
) -> None:
    async with serving() as server:
        server.replies[command] = f"{code} never, ada@example.com"
        failed = await failure(mailer_to(server.port))
        assert isinstance(failed, MailRefused) is for_good
        assert str(code) in str(failed)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [b"220 mail.test"],
        [b"220 mail.test", b"250 mail.test"],
        [b"220 mail.test", b"250 mail.test", b"250 OK", b"250 OK"],
    ],
)
async def test_a_server_that_falls_silent_is_left_in_time(lines: list[bytes]) -> None:
    async with saying(*lines) as port:
        async with asyncio.timeout(LONG):
            assert not isinstance(await failure(mailer_to(port)), MailRefused)


async def test_a_server_that_does_not_say_goodbye_has_taken_the_mail() -> None:
    lines = [b"220 mail.test", b"250 mail.test", b"250 OK", b"250 OK", b"354 go on"]
    async with saying(*lines, until=(b".", b"250 taken")) as port:
        async with asyncio.timeout(LONG):
            await mailer_to(port).send(MAIL)


async def test_a_send_that_is_cancelled_ends_at_once() -> None:
    async with saying(b"220 mail.test") as port:
        sending = asyncio.ensure_future(
            mailer_to(port, step_seconds=10 * LONG, whole_seconds=10 * LONG).send(MAIL)
        )
        await asyncio.sleep(0.1)
        sending.cancel()
        done, _ = await asyncio.wait((sending,), timeout=LONG)
        assert done == {sending}
        assert sending.cancelled()


async def test_a_server_that_is_slow_at_every_step_is_left_in_time() -> None:
    async with serving() as server:
        server.sleeps |= {"MAIL": 0.3, "RCPT": 0.3, "DATA": 0.3}
        mailer = SmtpMailer(
            SmtpRoute("127.0.0.1", server.port), SENDER, CLOCK, step_seconds=1, whole_seconds=0.5
        )
        assert not isinstance(await failure(mailer), MailRefused)
        assert server.taken == []


@pytest.mark.parametrize("line", [b"554 go away", b"no mail server at all", b"\xff\xfe"])
async def test_a_server_that_talks_otherwise_is_no_reason_to_give_up(line: bytes) -> None:
    async with saying(line, closes=True) as port:
        assert not isinstance(await failure(mailer_to(port)), MailRefused)


async def test_a_password_does_not_go_out_in_the_clear() -> None:
    async with serving(auth_required=True, auth_require_tls=False) as server:
        known = {"user": USER, "password": PASSWORD}
        assert not isinstance(await failure(mailer_to(server.port, **known)), MailRefused)
        assert server.users == []


async def test_a_wrong_password_can_be_mended(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async with serving(tls=tls[0], auth_required=True) as server:
        known = {"user": USER, "password": "another"}
        failed = await failure(mailer_to(server.port, tls=tls[1], **known))
        assert not isinstance(failed, MailRefused)
        assert "535" in str(failed)


async def test_starttls_is_used_when_offered(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async with serving(tls=tls[0]) as server:
        await mailer_to(server.port, tls=tls[1]).send(MAIL)
        assert server.encrypted == [True]


@pytest.mark.parametrize("implicit", [False, True])
async def test_a_certificate_that_nobody_vouches_for_is_refused(
    tls: tuple[ssl.SSLContext, ssl.SSLContext], implicit: bool
) -> None:
    async with serving(tls=tls[0], implicit=implicit) as server:
        failed = await failure(mailer_to(server.port, implicit_tls=implicit))
        assert not isinstance(failed, MailRefused)
        assert server.taken == []


async def test_a_local_part_that_the_server_cannot_take_is_told() -> None:
    async with serving(enable_SMTPUTF8=False) as server:
        with pytest.raises(MailNotSent):
            await mailer_to(server.port).send(replace(MAIL, to="jörg@example.com"))
        assert server.taken == []
