"""What every way of sending mail promises: one suite over all of them."""

import asyncio
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from email.message import EmailMessage
from pathlib import Path

import pytest

from guilder.core.clock import FixedClock
from guilder.core.ports import Mail, Mailer, MailNotSent, MailRefused
from guilder.infra.mail.addresses import SmtpRoute, sender_address
from guilder.infra.mail.local import ConsoleMailer, FileMailer
from guilder.infra.mail.smtp import SmtpMailer
from guilder.infra.process.logging import show
from tests.support.mail_server import PASSWORD, USER, certificates, message_of, serving

CLOCK = FixedClock(1_790_000_000_000_000)
SENDER = sender_address("Bank Müller & Söhne <no-reply@bank.example>")
LINK = "https://bank.example/verify?token=" + "Zm9v" * 30
MAIL = Mail(
    "0123abcd", "ada@example.com", "Confirm — it's you", f"Grüße!\n\n.\n..\nFrom here\n{LINK}\n",
    f'<p>Grüße! <a href="{LINK}">here</a></p>\n.\n',
)  # fmt: skip

Capture = pytest.CaptureFixture[str]


@dataclass
class Post:
    """A mailer and what has come out at its other end: whole messages, or only their texts."""

    mailer: Mailer
    texts: Callable[[], list[str]]
    messages: Callable[[], list[EmailMessage]] | None = None


def body(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    content = part.get_content()
    assert isinstance(content, str)
    return content


def over(messages: Callable[[], list[EmailMessage]], mailer: Mailer) -> Post:
    return Post(mailer, lambda: [body(message, "plain") for message in messages()], messages)


def files(folder: Path) -> list[EmailMessage]:
    found = sorted(folder.glob("*.eml"), key=lambda path: path.stat().st_mtime_ns)
    return [message_of(path.read_bytes()) for path in found]


@asynccontextmanager
async def server_post(folder: Path, kind: str) -> AsyncIterator[Post]:
    ours, theirs = certificates(folder)
    implicit = kind == "smtps"
    known = {} if kind == "smtp" else {"user": USER, "password": PASSWORD}
    async with serving(
        tls=None if kind == "smtp" else ours, implicit=implicit, auth_required=bool(known)
    ) as server:
        to = SmtpRoute("127.0.0.1", server.port, implicit_tls=implicit, **known)
        yield over(server.messages, SmtpMailer(to, SENDER, CLOCK, tls=theirs))
        assert set(server.encrypted) <= {kind != "smtp"}
        assert set(server.users) <= {USER}


@pytest.fixture(params=["console", "file", "smtp", "starttls", "smtps"])
async def post(
    request: pytest.FixtureRequest, tmp_path: Path, capsys: Capture
) -> AsyncIterator[Post]:
    said: list[str] = []

    def shown() -> list[str]:
        said.append(capsys.readouterr().err)
        return "".join(said).split(f"{'-' * 72}\n{'-' * 72}\n")

    match request.param:
        case "console":
            yield Post(ConsoleMailer(show, open_letters=True), shown)
        case "file":
            folder = tmp_path / "out"
            yield over(lambda: files(folder), FileMailer(folder, SENDER, CLOCK))
        case kind:
            async with server_post(tmp_path, kind) as made:
                yield made


async def test_a_mail_arrives_whole(post: Post) -> None:
    await post.mailer.send(MAIL)
    (text,) = post.texts()
    assert MAIL.text.strip() in text.replace("\r\n", "\n")
    for message in post.messages() if post.messages else ():
        assert message["To"] == "ada@example.com"
        assert message["From"].addresses[0].display_name == "Bank Müller & Söhne"
        assert message["From"].addresses[0].addr_spec == "no-reply@bank.example"
        assert message["Subject"] == MAIL.subject
        assert message["Message-ID"] == "<0123abcd@bank.example>"
        assert message["Auto-Submitted"] == "auto-generated"
        assert message["Date"].datetime.timestamp() == 1_790_000_000
        assert body(message, "html").replace("\r\n", "\n") == MAIL.html
        assert [part.get_content_type() for part in message.iter_parts()] == [
            "text/plain", "text/html",
        ]  # fmt: skip


async def test_several_at_once_all_arrive(post: Post) -> None:
    mails = [replace(MAIL, id=f"m{n}", text=f"number {n}\n") for n in range(5)]
    await asyncio.gather(*[post.mailer.send(mail) for mail in mails])
    found = "".join(post.texts())
    assert all(found.count(f"number {n}") == 1 for n in range(5))


async def test_a_repetition_can_be_told_by_its_message_id(post: Post) -> None:
    for _ in range(2):
        await post.mailer.send(MAIL)
    if post.messages is not None:
        assert {message["Message-ID"] for message in post.messages()} == {"<0123abcd@bank.example>"}


@pytest.mark.parametrize("to", ["ada@-example.com", "ada@example..com", ".ada@example.com"])
async def test_an_address_that_cannot_exist_is_refused_for_good(post: Post, to: str) -> None:
    with pytest.raises(MailRefused) as refused:
        await post.mailer.send(replace(MAIL, to=to))
    assert to not in str(refused.value)
    assert "Grüße" not in "".join(post.texts())


async def test_an_international_address_is_reached(post: Post) -> None:
    await post.mailer.send(replace(MAIL, to="jörg@straße.example"))
    assert len(post.texts()) == 1
    for message in post.messages() if post.messages else ():
        assert str(message["To"]) == "jörg@xn--strae-oqa.example"


def test_sender_header_of_a_hostile_name_is_not_made() -> None:
    for hostile in (
        "Bank\r\nBcc: a@b <c@d>",
        "Bank\0 <c@d>",
        "<c@d>, <e@f>",
        "a@b\r\nX: y",
        "",
        "x",
    ):
        with pytest.raises(ValueError, match="must be Name"):
            sender_address(hostile)


async def test_a_file_is_private_and_takes_the_place_of_its_former_copy(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "out"
    mailer = FileMailer(folder, SENDER, CLOCK)
    await mailer.send(MAIL)
    await mailer.send(replace(MAIL, text="again\n"))
    (path,) = folder.iterdir()
    assert path.name == "0123abcd.eml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert body(message_of(path.read_bytes()), "plain").strip() == "again"


async def test_a_link_can_be_read_in_the_file_as_it_stands(tmp_path: Path) -> None:
    mailer = FileMailer(tmp_path / "out", SENDER, CLOCK)
    await mailer.send(replace(MAIL, text=f"Open:\n{LINK}\n", html=f'<a href="{LINK}">x</a>'))
    (path,) = (tmp_path / "out").iterdir()
    assert path.read_text().count(LINK) == 2


async def test_a_folder_that_cannot_be_written_to_is_no_reason_to_give_up(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(MailNotSent) as failed:
        await FileMailer(tmp_path / "out", SENDER, CLOCK).send(MAIL)
    assert not isinstance(failed.value, MailRefused)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


async def test_a_draft_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(MailNotSent, match="error 28"):
        await FileMailer(tmp_path, SENDER, CLOCK).send(MAIL)
    assert list(tmp_path.iterdir()) == []


async def test_in_production_the_console_tells_only_that_there_was_a_mail(
    capsys: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    await ConsoleMailer(show, open_letters=False).send(MAIL)
    (record,) = caplog.records
    assert record.__dict__["fields"] == {"mail_id": MAIL.id, "subject": MAIL.subject}
    said = capsys.readouterr()
    for secret in (LINK, "ada@example.com"):
        assert secret not in said.err + said.out + caplog.text
