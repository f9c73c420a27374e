"""``.env``: a line that cannot be read might be the one that says production, so it is refused."""

import re
from pathlib import Path

import pytest

from guilder.infra.process.settings import InvalidSettings, load_settings


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_environment: None) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("GUILDER_ENV production", ".env line 3 cannot be read"),
        ("GUILDER_ENV: production", ".env line 3 cannot be read"),
        ("set GUILDER_ENV=production", ".env line 3 cannot be read"),
        ('GUILDER_SECRET_KEY="canary', ".env line 3 cannot be read"),
        ('GUILDER_SECRET_KEY="canary" canary', ".env line 3 cannot be read"),
        ("GUILDER_ENV", ".env line 3 gives GUILDER_ENV no value: write GUILDER_ENV=value"),
        ("export GUILDER_ENV", ".env line 3 gives GUILDER_ENV no value"),
        ("GUILDER-ENV=production", ".env line 3 is no setting: their names begin with GUILDER_"),
        ("guilderenv=production", ".env line 3 is no setting"),
    ],
)
def test_a_line_that_cannot_be_read_is_refused(line: str, said: str) -> None:
    Path(".env").write_text(f"# settings\n\n{line}\nGUILDER_PORT=1\n")
    with pytest.raises(InvalidSettings, match=re.escape(said)) as refused:
        load_settings()
    assert "canary" not in str(refused.value)


def test_every_such_line_is_told_at_once() -> None:
    Path(".env").write_text("GUILDER_ENV production\nGUILDER_PORT\n")
    with pytest.raises(InvalidSettings) as refused:
        load_settings()
    assert len(str(refused.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("GUILDER_PORT=1\n".encode("utf-16"), ".env is UTF-16, as Windows calls Unicode"),
        ("GUILDER_PORT=1\n".encode("utf-16-be"), ".env is UTF-16"),
        (b"# ok\nGUILDER_MAIL_FROM=Caf\xe9 <a@b.example>\n", ".env line 2 is not UTF-8"),
    ],
)
def test_another_encoding_is_told(data: bytes, said: str) -> None:
    Path(".env").write_bytes(data)
    with pytest.raises(InvalidSettings, match=re.escape(said)):
        load_settings()


def test_a_file_that_cannot_be_opened_is_told() -> None:
    Path(".env").mkdir()
    with pytest.raises(InvalidSettings, match=r"\.env cannot be read: Is a directory"):
        load_settings()


def test_the_mark_that_windows_puts_before_utf_8_hides_no_setting() -> None:
    Path(".env").write_bytes(b"\xef\xbb\xbfGUILDER_PORT=1\r\n")
    assert load_settings().port == 1


def test_what_others_write_there_is_left_alone() -> None:
    Path(".env").write_text("export OTHER='a b'\nFLAG\n# GUILDER_ENV production\n\nGUILDER_PORT=\n")
    assert load_settings().port == 8000
