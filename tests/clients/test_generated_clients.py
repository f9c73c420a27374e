"""Clients as others generate them from the committed reference, against a bank that is served."""

import json
import re
from pathlib import Path

import pytest

from tests.cli.serving import Running
from tests.clients.toolbox import REFERENCE, Toolbox

pytestmark = [pytest.mark.heavy, pytest.mark.integration]

WALKS = Path(__file__).parent / "walks"
NO_HOOKS = (
    "project_name_override: bank-client\npackage_name_override: bank_client\npost_hooks: []\n"
)


def test_redocly_finds_neither_an_error_nor_a_warning(node: Toolbox) -> None:
    told = node.node("redocly", "lint", REFERENCE, "--format=json")
    assert json.loads(told)["totals"] == {"errors": 0, "warnings": 0, "ignored": 0}, told[-3000:]


def test_the_client_of_openapi_python_client_walks_through_the_bank(
    toolbox: Toolbox, bank: Running
) -> None:
    (toolbox.folder / "config.yaml").write_text(NO_HOOKS)
    toolbox.python(
        "-m", "openapi_python_client", "generate", "--path", REFERENCE, "--config", "config.yaml",
        "--fail-on-warning", "--output-path", "client",
    )  # fmt: skip
    toolbox.python(WALKS / "openapi_python_client.py", bank.base, path=toolbox.folder / "client")


def test_the_python_client_of_openapi_generator_walks_through_the_bank(
    toolbox: Toolbox, bank: Running
) -> None:
    made = toolbox.generate("python", "generated_client")
    toolbox.python(WALKS / "openapi_generator_python.py", bank.base, path=made)


def test_the_java_client_of_openapi_generator_holds_money_in_64_bits(toolbox: Toolbox) -> None:
    made = toolbox.generate("java", "guilder", "--library", "native")
    models = made / "src/main/java/org/openapitools/client/model"
    account = (models / "AccountOut.java").read_text()
    assert re.search(r"private Long balance;", account)
    for path in models.glob("*.java"):
        assert not re.search(r"private (Integer|Float|Double) ", path.read_text()), path.name


def test_openapi_fetch_walks_through_the_bank_by_types_that_tsc_has_checked(
    node: Toolbox, bank: Running
) -> None:
    node.node("openapi-typescript", REFERENCE, "--output", "bank.d.ts")
    node.node("tsc", "--project", "tsconfig.json")
    node.node("node", "out/walk.js", bank.base)


def test_oauth_clients_sign_in_and_refresh_by_themselves(toolbox: Toolbox, bank: Running) -> None:
    toolbox.python(WALKS / "oauth_clients.py", bank.base)
