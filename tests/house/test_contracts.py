"""The import contracts on a small planted house: kept when sound, broken by each breach."""

import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.house.source import ROOT

LINT_IMPORTS = f"{sysconfig.get_path('scripts')}/lint-imports"
PLAIN = ["main", "worker", "seed", "cli", "bootstrap", "tables", "core.money", "db.run", "api.deps"]
DOMAINS = ["ledger", "identity", "accounts", "transfers", "cards"]
SLICE = [
    "rules", "errors", "models", "repository", "commands", "queries", "services", "schemas",
    "routes",
]  # fmt: skip
BREACHES = [
    ("api.deps", "import guilder.domains.ledger.commands", "1. Storeys"),
    ("core.money", "import guilder.db.run", "1. Storeys"),
    ("domains.ledger.commands", "import guilder.main", "1. Storeys"),
    ("domains.cards.models", "import guilder.tables", "1. Storeys"),
    ("stray", "", "1. Storeys"),
    ("domains.ledger.commands", "import guilder.domains.transfers.errors", "2. Domains"),
    ("domains.ledger.commands", "import guilder.domains.identity.errors", "2. Domains"),
    ("domains.cards.rules", "import guilder.domains.cards.repository", "3. Slice"),
    ("domains.cards.commands", "import guilder.domains.cards.schemas", "3. Slice"),
    ("domains.cards.services", "import guilder.domains.cards.routes", "3. Slice"),
    ("domains.cards.queries", "import guilder.domains.cards.services", "3. Slice"),
    ("domains.cards.helpers", "", "3. Slice"),
    ("domains.transfers.commands", "import guilder.domains.accounts.models", "4. Doors"),
    ("domains.transfers.queries", "import guilder.domains.accounts.repository", "4. Doors"),
    ("domains.accounts.rules", "import pydantic", "5. Rules"),
    ("core.money", "import sqlalchemy", "5. Rules"),
    ("domains.accounts.commands", "import fastapi", "6. HTTP"),
    ("domains.accounts.queries", "import sqlalchemy", "7. SQL"),
    ("domains.accounts.routes", "import guilder.domains.accounts.adapters", "8. Adapters"),
    ("domains.accounts.services", "import guilder.infra.process.settings", "9. Ports"),
]


def write(root: Path, module: str, text: str = "") -> None:
    path = root / "guilder" / f"{module.replace('.', '/')}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    for folder in path.parents:
        if folder == root:
            break
        (folder / "__init__.py").touch()


def lint(root: Path) -> tuple[int, str]:
    """Run the project's contracts on the house in `root`."""
    shutil.copy(ROOT / "pyproject.toml", root)
    command = [LINT_IMPORTS, "--no-logo", "--no-cache"]
    done = subprocess.run(command, cwd=root, check=False, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def house(tmp_path: Path) -> Path:
    for module in PLAIN:
        write(tmp_path, module)
    for domain in DOMAINS:
        for file in SLICE:
            write(tmp_path, f"domains.{domain}.{file}")
    write(tmp_path, "domains.accounts.adapters")
    write(tmp_path, "domains.ledger.store.sqlite", "import sqlalchemy")
    write(tmp_path, "domains.cards.commands", "import guilder.domains.ledger.commands")
    write(tmp_path, "infra.process.settings")
    write(tmp_path, "bootstrap", "import guilder.domains.accounts.adapters")
    return tmp_path


def test_a_sound_house_keeps_every_contract(house: Path) -> None:
    status, said = lint(house)
    assert status == 0, said
    assert said.count("KEPT") == 10


@pytest.mark.parametrize(("module", "text", "contract"), BREACHES)
def test_a_planted_breach_is_found(house: Path, module: str, text: str, contract: str) -> None:
    write(house, module, text)
    status, said = lint(house)
    assert status == 1, said
    broken = [line for line in said.splitlines() if line.endswith("BROKEN")]
    assert any(line.startswith(contract) for line in broken), said


def test_a_cycle_between_siblings_is_found(house: Path) -> None:
    write(house, "db.engine", "import guilder.db.outbox")
    write(house, "db.outbox", "import guilder.db.engine")
    status, said = lint(house)
    assert status == 1
    assert "10. No cycles between siblings, anywhere BROKEN" in said
