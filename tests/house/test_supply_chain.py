"""The locks: hashed, agreeing with pyproject.toml, and above every version known to be bad."""

import re
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.house.source import ROOT

LOCKS = ("runtime", "dev", "setup", "clients")
Pins = dict[str, Version]


def read_lock(text: str) -> tuple[Pins, list[str]]:
    """Return the pinned versions of a lock, and the names of what is not pinned with a hash."""
    pins: Pins = {}
    bare: list[str] = []
    for entry in re.split(r"\n(?=\S)", text.strip()):
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*])?==([^\s;\\]+)", entry)
        if match is None or "--hash=sha256:" not in entry:
            bare.append(entry.splitlines()[0])
        else:
            pins[canonicalize_name(match[1])] = Version(match[2])
    return pins, bare


def read_floors(text: str) -> dict[str, tuple[Version, str]]:
    """Return package to (first good version, reason); a line of another shape is an error."""
    floors: dict[str, tuple[Version, str]] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            match = re.fullmatch(r"([a-z0-9-]+)>=(\S+)\s+# (\S.+)", line)
            assert match, f"not a floor with a reason: {line}"
            floors[match[1]] = Version(match[2]), match[3]
    return floors


def below_floors(pins: Pins, floors: dict[str, tuple[Version, str]]) -> list[str]:
    return [
        f"{name} {pins[name]} is below {floor}: {reason}"
        for name, (floor, reason) in floors.items()
        if name in pins and pins[name] < floor
    ]


def locks() -> dict[str, Pins]:
    folder = ROOT / "requirements"
    return {name: read_lock((folder / f"{name}.txt").read_text())[0] for name in LOCKS}


def floors() -> dict[str, tuple[Version, str]]:
    return read_floors((ROOT / "requirements" / "floors.txt").read_text())


def test_every_line_of_a_lock_is_pinned_with_hashes() -> None:
    for name in LOCKS:
        pins, bare = read_lock((ROOT / "requirements" / f"{name}.txt").read_text())
        assert pins, name
        assert bare == [], name


def test_an_unhashed_line_is_found() -> None:
    text = "good==1.0 \\\n    --hash=sha256:00\nbare==2.0\nloose>=3\n"
    assert read_lock(text) == ({"good": Version("1.0")}, ["bare==2.0", "loose>=3"])


def test_runtime_and_dev_pin_the_same_versions() -> None:
    runtime, dev = locks()["runtime"], locks()["dev"]
    assert {name: dev.get(name) for name in runtime} == runtime


def test_locks_hold_what_pyproject_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = {
        "runtime": project["project"]["dependencies"],
        "dev": project["project"]["dependencies"] + project["dependency-groups"]["dev"],
        "setup": project["dependency-groups"]["setup"],
        "clients": project["dependency-groups"]["clients"],
    }
    for name, pins in locks().items():
        for requirement in map(Requirement, asked[name]):
            pin = pins.get(canonicalize_name(requirement.name))
            assert pin, f"{requirement.name} is not in {name}.txt: run `make lock`"
            assert pin in requirement.specifier, f"{requirement} in {name}.txt: run `make lock`"


def test_no_lock_holds_a_version_known_to_be_bad() -> None:
    for pins in locks().values():
        assert below_floors(pins, floors()) == []


def test_a_version_below_its_floor_is_found() -> None:
    planted = {"h11": Version("0.14.0"), "idna": Version("3.10")}
    assert len(below_floors(planted, floors())) == 1


def test_every_floor_is_about_a_package_that_is_locked() -> None:
    locked = {name for pins in locks().values() for name in pins}
    assert set(floors()) - locked == set()
