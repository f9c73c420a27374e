"""Others' programs that make clients of the API."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.serving import environment
from tests.house.source import ROOT
from tests.support.waiting import LONG

REFERENCE = ROOT / "openapi.json"
TOOLS = ROOT / ".clients"


@dataclass(frozen=True)
class Toolbox:
    """Others' programs, installed apart from our own: see ``tools/clients``."""

    folder: Path

    def python(self, *arguments: str | Path, path: Path | None = None, **values: str) -> None:
        """Run a Python program, with a folder of code on its path and more in its environment."""
        more = {"OAUTHLIB_INSECURE_TRANSPORT": "1", "AUTHLIB_INSECURE_TRANSPORT": "1", **values}
        if path is not None:
            more["PYTHONPATH"] = str(path)
        self._run(TOOLS / "python/bin/python", *arguments, more=more)

    def generate(self, target: str, package: str, *more: str) -> Path:
        """Let OpenAPI Generator make a client; gives the folder it is in."""
        if shutil.which("java") is None:
            pytest.skip("OpenAPI Generator needs java, which this machine does not have")
        made = self.folder / target
        self._run(
            TOOLS / "python/bin/openapi-generator-cli", "generate", "--generator-name", target,
            "--input-spec", REFERENCE, "--output", made, "--package-name", package, *more,
        )  # fmt: skip
        return made

    def node(self, program: str, *arguments: str | Path) -> str:
        """Run a program of a package of Node's, in this folder; gives what it said."""
        packaged = TOOLS / "node/node_modules/.bin" / program
        return self._run(packaged if packaged.exists() else program, *arguments)

    def _run(
        self, program: str | Path, *arguments: str | Path, more: dict[str, str] | None = None
    ) -> str:
        values = environment("", self.folder) | (more or {})
        done = subprocess.run(
            [program, *arguments], cwd=self.folder, env=values, capture_output=True, check=False,
            text=True, timeout=LONG,
        )  # fmt: skip
        assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
        return done.stdout
