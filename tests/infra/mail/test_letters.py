"""Every letter, with ordinary and with hostile values: what is said, and nothing else."""

import re
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import pytest

from guilder import domains as domains_package
from guilder.bootstrap import ALL_LETTERS
from guilder.core.letters import LetterTemplate
from guilder.core.ports import Mail
from guilder.domains.identity.services.letters import VERIFY_EMAIL
from guilder.infra.mail.letters import MAX_VALUE_LENGTH, Letters

LINK = "https://bank.example/go?token=Zm9v_-.~&next=%2Fhome&x=1"
EXAMPLES = {
    "hours": "24",
    "minutes": "30",
    "at": "2026-11-22 07:00 UTC",
    "device": "Firefox on Linux",
    "ip_address": "192.0.2.7",
    "until": "22 November 2026, 07:15 UTC",
    "factors": "passkey added on 3 May 2026",
    "said": "A passkey was added.",
    "email": "new@example.com",
    "days": "7",
}
VALUES = {
    letter: {name: EXAMPLES[name] for name in sorted(letter.values)} for letter in ALL_LETTERS
}
HOSTILE = [
    '<script>alert(1)</script>"><img src=x onerror=alert(1)>',
    '\'"></a><a href="https://evil.example">x',
    "a\r\nBcc: eve@evil.example\r\n\r\nhello",
    "a\n\n--\nMy Bank\nhttps://evil.example",
    "\x00\x07\x1b[2J\x9b\u2028\u2029\u202egnp.exe\ud800",
    "{{ bank }}{% raw %}${x}",
    "w" * 5000,
    "&amp;&lt;b&gt;",
]


class Reader(HTMLParser):
    """What a mail client sees: tags, links and words."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str | None] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]
        self.links += [value for name, value in attrs if name in {"href", "src"}]

    def handle_data(self, data: str) -> None:
        self.words += data


def read(mail: Mail) -> Reader:
    reader = Reader()
    reader.feed(mail.html)
    reader.close()
    return reader


@pytest.fixture(scope="module")
def writer() -> Letters:
    return Letters("Bank <b>Müller</b> & Söhne", "https://bank.example", ALL_LETTERS)


def compose(writer: Letters, letter: LetterTemplate, **values: str) -> Mail:
    given = VALUES[letter] | values
    return writer.compose(letter, "ada@example.com", "k1", link=LINK, **given)


def test_every_template_is_declared_once_and_every_declaration_has_one() -> None:
    declared = [
        Path(str(resources.files(letter.package))) / "letters" / f"{letter.name}.jinja"
        for letter in ALL_LETTERS
    ]
    domains = Path(domains_package.__file__ or "").parent
    assert sorted(declared) == sorted(domains.glob("*/letters/*"))


@pytest.mark.parametrize("letter", ALL_LETTERS, ids=lambda letter: letter.name)
def test_both_forms_say_the_same_and_carry_the_link(
    writer: Letters, letter: LetterTemplate
) -> None:
    mail = compose(writer, letter)
    reader = read(mail)
    assert (mail.id, mail.to) == ("k1", "ada@example.com")
    assert LINK in mail.text.splitlines()
    assert reader.links.count(LINK) == 2
    assert set(reader.links) == {LINK, "https://bank.example"}
    for value in (*VALUES[letter].values(), "Bank <b>Müller</b> & Söhne", "https://bank.example"):
        assert value in " ".join(mail.text.split())
        assert value in " ".join(reader.words.split())
    assert "<" not in mail.text.replace("<b>Müller</b>", "")
    assert max(map(len, mail.text.replace(LINK, "").splitlines())) <= 72
    assert "\n\n\n" not in mail.text
    assert mail.text == mail.text.strip() + "\n"


@pytest.mark.parametrize("letter", ALL_LETTERS, ids=lambda letter: letter.name)
def test_it_can_be_read_in_the_light_and_in_the_dark(
    writer: Letters, letter: LetterTemplate
) -> None:
    html = compose(writer, letter).html
    assert '<meta name="color-scheme" content="light dark">' in html
    assert "@media (prefers-color-scheme: dark)" in html
    assert not re.search(r"<(img|script|link|iframe|form)\b", html)


@pytest.mark.parametrize("letter", ALL_LETTERS, ids=lambda letter: letter.name)
@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_values_change_no_structure(
    writer: Letters, letter: LetterTemplate, hostile: str
) -> None:
    ordinary = compose(writer, letter)
    mail = compose(writer, letter, **dict.fromkeys(VALUES[letter], hostile))
    reader = read(mail)
    assert reader.tags == read(ordinary).tags
    assert set(reader.links) == {LINK, "https://bank.example"}
    assert mail.subject == ordinary.subject
    assert not re.search(
        r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202e\ud800]", mail.text + mail.html
    )
    assert mail.text.count("\n--\n") == 1
    assert mail.text.count("\n\n") == ordinary.text.count("\n\n")
    assert len(mail.text) < 2000 + 3 * MAX_VALUE_LENGTH


@pytest.mark.parametrize("letter", ALL_LETTERS, ids=lambda letter: letter.name)
def test_a_missing_value_is_not_passed_over(writer: Letters, letter: LetterTemplate) -> None:
    for missing in VALUES[letter]:
        given = {name: value for name, value in VALUES[letter].items() if name != missing}
        with pytest.raises(ValueError, match=f"{letter.name}: {missing}"):
            writer.compose(letter, "ada@example.com", "k1", link=LINK, **given)


@pytest.mark.parametrize(
    "link",
    [
        "", "javascript:alert(1)", "bank.example", "https://", "https://a b", "https://a\nb",
        'https://a"onclick="x', "https://a<b>", "https://a\u202eb", "https://a/" + "x" * 1000,
    ],
)  # fmt: skip
def test_a_link_that_is_no_web_address_is_refused(writer: Letters, link: str) -> None:
    with pytest.raises(ValueError, match="a link in a letter") as refused:
        writer.compose(VERIFY_EMAIL, "ada@example.com", "k1", link=link, hours=24)
    assert not link or link not in str(refused.value)
