"""What an address of mail means, and what none is."""

from pathlib import Path

import pytest

from guilder.infra.mail.addresses import ConsoleRoute, FolderRoute, MailRoute, SmtpRoute, mail_route


@pytest.mark.parametrize(
    ("url", "route"),
    [
        ("console:", ConsoleRoute()),
        ("file:/var/mail%20out", FolderRoute(Path("/var/mail out"))),
        ("file:///var/out", FolderRoute(Path("/var/out"))),
        ("file:out", FolderRoute(Path("out"))),
        ("smtp://relay.example", SmtpRoute("relay.example", 25)),
        ("smtp://relay.example:2525/", SmtpRoute("relay.example", 2525)),
        ("smtp://u%40x:p%2Fw@relay.example", SmtpRoute("relay.example", 587, "u@x", "p/w")),
        ("smtps://u:p@[::1]", SmtpRoute("::1", 465, "u", "p", implicit_tls=True)),
    ],
)
def test_an_address_says_where_mail_goes(url: str, route: MailRoute) -> None:
    assert mail_route(url) == route
    assert "p%2Fw" not in repr(route)
    assert "p/w" not in repr(route)


@pytest.mark.parametrize(
    "url",
    [
        "", "canary", "console", "console:canary", "console:?canary", "file:", "file:/", "file://canary/x",
        "http://canary", "smtp:", "smtp://", "smtp://:25", "smtp://canary@host", "smtp://:canary@host",
        "smtp://canary:@host", "smtp://u:can/ary@host", "smtp://u:1/canary@host", "smtp://u:can#ary@host",
        "smtp://u:can?ary@host", "smtp://host:canary", "smtp://host:99999", "smtp://host/canary",
        "smtp://host\r\ncanary", "file:/a\0canary",
    ],
)  # fmt: skip
def test_anything_else_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ValueError, match="must be console:, file:/folder, smtp://") as refused:
        mail_route(url)
    assert "canary" not in str(refused.value)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
