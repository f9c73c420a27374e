"""A mail that could smuggle a header, a recipient or a control character cannot be made."""

import pytest

from guilder.core.ports import Mail

GOOD = {
    "id": "a1.b-c_d", "to": "ada@example.com", "subject": "Grüße: 1 < 2", "text": "a\n\tb\n",
    "html": "<p>a</p>\n",
}  # fmt: skip


def test_an_ordinary_mail_is_made_and_does_not_show_what_it_says() -> None:
    mail = Mail(**GOOD | {"text": "https://bank.example/?t=canary", "html": "canary"})
    assert mail.to == "ada@example.com"
    assert "canary" not in repr(mail)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("id", value) for value in ("", ".", "../x", "a/b", "a b", "a\n", "a>", "é", "a" * 101)],
        *[
            ("to", value)
            for value in (
                "", "ada", "@example.com", "ada@", "a@b@c", "a@b,c@d", "<a@b>", "a@b\r\nBcc: c@d",
                "a@b\nc", "a b@c", "a@b\0", "a@b\x85", "a\u202eb@c", '"a"@b', "a@b\ud800",
                "a" * 65 + "@b",
            )
        ],
        *[
            ("subject", value)
            for value in ("", " ", "a\r\nBcc: c@d", "a\nb", "a\rb", "a\0", "a\u2028b", "a\ud800")
        ],
        *[
            (name, value)
            for name in ("text", "html")
            for value in ("a\rb", "a\r\nb", "a\0b", "a\x1b[2Jb", "a\x7f", "a\x9b", "\ud800")
        ],
    ],
)  # fmt: skip
def test_what_could_break_out_of_its_place_is_refused(field: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"a mail cannot have such a {field}") as refused:
        Mail(**GOOD | {field: value})
    assert not value.strip() or value not in str(refused.value)
