"""docs/reference is what the code says, and the code says something about everything."""

import os
import re
import subprocess
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterable
from itertools import chain

import pytest
from pydantic import Field

from guilder.core.errors import Conflict, Refusal
from guilder.infra.process.health import PartHealth, Status
from guilder.infra.process.settings import Settings
from guilder.infra.process.telemetry import Telemetry
from tools import reference


def undescribed(settings: type[Settings]) -> list[str]:
    return [name for name, field in settings.model_fields.items() if not field.description]


def shared_codes(refusals: Iterable[type[Refusal]]) -> list[str]:
    """Return the codes that more than one refusal uses."""
    return [code for code, times in Counter(found.code for found in refusals).items() if times > 1]


@pytest.mark.parametrize("name", reference.PAGES)
def test_the_committed_page_is_what_the_code_says(name: str) -> None:
    committed = (reference.REFERENCE / name).read_text(encoding="utf-8")
    assert committed == reference.PAGES[name](), "run `make openapi`"


def test_the_committed_openapi_document_is_what_the_application_says() -> None:
    command = [f"{sysconfig.get_path('scripts')}/guilder", "openapi"]
    own = {name: value for name, value in os.environ.items() if not name.startswith("GUILDER_")}
    said = subprocess.run(command, env=own, check=True, capture_output=True, text=True).stdout
    committed = (reference.ROOT / "openapi.json").read_text(encoding="utf-8")
    assert committed == said, "run `make openapi`"


def test_every_setting_is_described() -> None:
    assert undescribed(Settings) == []
    page = reference.settings_page()
    assert all(f"`GUILDER_{name.upper()}`" in page for name in Settings.model_fields)


def test_a_setting_without_description_is_found() -> None:
    class Planted(Settings):
        depth: int = 3
        height: int = Field(4, description="How high.")

    assert undescribed(Planted) == ["depth"]
    assert "| `GUILDER_HEIGHT` | `4` | How high. |" in reference.settings_page(Planted)


def test_every_metric_that_is_shown_is_on_the_page_with_its_labels() -> None:
    telemetry = Telemetry()
    telemetry.request("GET", "/a/{id}", 404, 0.004, "not_found")
    telemetry.sign_in("succeeded")
    telemetry.limited("strict")
    telemetry.health({"database": PartHealth(Status.HEALTHY)})
    rows = {
        line.split("`")[1]: line for line in reference.metrics_page().splitlines() if "`" in line
    }
    for line in telemetry.render().decode().splitlines():
        name, _, labels = line.partition(" ")[0].partition("{")
        if not name.startswith("guilder_"):
            continue
        row = rows[re.sub("_(bucket|sum|count)$", "", name)]
        named = {label for label in re.findall(r"(\w+)=\"", labels) if label != "le"}
        assert named == set(re.findall(r"`(\w+)`", row.split("|")[3])), name


def test_the_guide_to_watching_names_only_metrics_that_there_are() -> None:
    guide = (reference.ROOT / "docs" / "how-to" / "observe.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\b(?:guilder|process)_\w+", guide)) - {"process_"}
    there = set(re.findall(r"\b(?:guilder|process)_\w+", reference.metrics_page()))
    assert len(named) > 10
    assert named <= there


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of processes")
def test_the_metrics_of_processes_are_those_that_are_shown() -> None:
    shown = set(re.findall("^process_[a-z_]+", Telemetry().render().decode(), re.MULTILINE))
    assert shown == set(chain.from_iterable(reference.PROCESS_METRICS))


def test_every_code_is_documented_and_means_one_thing() -> None:
    known = list(reference.refusals())
    assert len(known) > 8
    assert shared_codes(known) == []
    page = reference.errors_page()
    assert all(f"| `{refusal.code}` | " in page for refusal in known)


def test_a_shared_code_is_found() -> None:
    class One(Conflict):
        code = "planted"

    class Other(Conflict):
        code = "planted"

    assert shared_codes([One, Other, Conflict]) == ["planted"]
