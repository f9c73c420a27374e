"""The production guide as it is written: its settings are read by a shell and hold."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.serving import environment
from tests.support.app import PRODUCTION
from tests.support.waiting import LONG

pytestmark = pytest.mark.integration
GUIDE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "production.md"
PLACEHOLDERS = {
    "<a password of its own>": "Vq7pTz0Lw3",
    "<what `openssl rand -base64 48` prints>": PRODUCTION["secret_key"],
    "<what it prints when asked again>": PRODUCTION["encryption_key"],
    "<its password>": "s3cret",
}


def test_the_settings_of_the_guide_are_taken_as_they_are_written(tmp_path: Path) -> None:
    written = [line.strip() for line in GUIDE.read_text().splitlines() if "GUILDER_ENV=" in line]
    text = GUIDE.read_text().partition(written[-1])[2].partition("\n\n")[0]
    block = "\n".join(line.strip() for line in (written[-1] + text).splitlines())
    for placeholder, value in PLACEHOLDERS.items():
        assert placeholder in block
        block = block.replace(placeholder, str(value))
    (tmp_path / "guilder.env").write_text(block)
    kept = {n: v for n, v in environment("", tmp_path).items() if not n.startswith("GUILDER_")}
    done = subprocess.run(
        ["sh", "-c", f"set -a; . ./guilder.env; exec {sys.executable} -P -m guilder.cli settings"],
        env=kept, cwd=tmp_path, capture_output=True, check=False, text=True, timeout=LONG,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "GUILDER_MAIL_FROM=Example Bank <no-reply@example.com>  (environment)" in done.stdout
    assert "GUILDER_ENV=production  (environment)" in done.stdout
