"""A name means one thing: in the code, and in the data that the code writes."""

import pytest

from tests.house.declarations import doubled, shared_data_names
from tests.house.source import Source, sources

ADVICE = (
    "call one of them what it is in its own place, by the standard term of the field. Free are"
    " endpoints, commands of the CLI, routers, what stands in a `wiring.py`, and functions that"
    " pass one read or write on between the layers of a slice"
)
A, B = "guilder/api/a.py", "guilder/db/b.py"
SLICE = "guilder/domains/cards/"
PLANTED = {
    "two classes": {A: "class Entry: ...", B: "class Entry: ..."},
    "a type and a constant": {A: "type Page = list[int]", B: "Page: Final = 5_000"},
    "one of several in a line": {A: "one, Entry = 1, 2", B: "def Entry(): ..."},
    "two slices": {
        "guilder/domains/cards/queries.py": "async def get_row(view): ...",
        "guilder/domains/loans/queries.py": "async def get_row(view): ...",
    },
    "two types of one slice": {
        SLICE + "rules.py": "class Card: ...",
        SLICE + "schemas.py": "class Card: ...",
    },
    "no router": {SLICE + "routes.py": "Reader = may(READ)", A: "Reader = may(WRITE)"},
}
ALLOWED = {
    "one": {A: "class Entry: ...", B: "from guilder.api.a import Entry"},
    "private": {A: "class _Entry: ...", B: "class _Entry: ..."},
    "an endpoint": {
        SLICE + "routes.py": "@router.get('/cards')\nasync def list_cards(): ...",
        A: "def list_cards(): ...",
    },
    "a command": {
        "guilder/cli/a.py": "@app.command()\ndef verify(): ...",
        B: "async def verify(): ...",
    },
    "routers": {
        SLICE + "routes.py": "router = APIRouter(tags=['cards'])",
        "guilder/domains/loans/routes.py": "router = APIRouter()",
    },
    "wiring": {
        SLICE + "wiring.py": "JOBS: Final = ()",
        "guilder/domains/loans/wiring.py": "JOBS: Final = ()",
    },
    "layers of one slice": {
        SLICE + "commands.py": "async def freeze(uow, cmd): ...",
        SLICE + "repository.py": "async def freeze(uow, card_id): ...",
    },
}
COMMAND = "class {}:\n    action: ClassVar[str] = '{}'\n"
SHARED = [
    {A: COMMAND.format("Open", "card.open"), B: COMMAND.format("OpenAgain", "card.open")},
    {A: "class Opened:\n    type: ClassVar[str] = 'card.opened'\n" * 2},
    {A: "class CardLost(Conflict):\n    code = 'card_lost'\n" * 2},
    {A: "class Settings(BaseSettings):\n    host: str\n    port: int\n    host: str = 'a'\n"},
    {A: "Counter('guilder_cards', 'Cards.')", B: "metrics.Gauge('guilder_cards', 'Cards.')"},
    {A: "Job('expire cards', 1.0, a)", B: "Job('expire cards', 2.0, b)"},
    {A: "Subscriber('cards', T, a)", B: "Subscriber[Bank]('cards', T, b)"},
    {A: "Policy('bulk', NONE, None, 'a')\nPolicy('bulk', NONE, None, 'b')"},
    {A: "Table('cards', metadata)", B: "Table('cards', metadata)"},
]


def planted(files: dict[str, str]) -> list[Source]:
    return [Source(path, text) for path, text in files.items()]


def test_a_name_has_one_meaning() -> None:
    package = list(sources("guilder"))
    assert package
    found = doubled(package)
    assert found == {}, ADVICE


@pytest.mark.parametrize("files", PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_double_is_found(files: dict[str, str]) -> None:
    assert doubled(planted(files))


@pytest.mark.parametrize("files", ALLOWED.values(), ids=ALLOWED.keys())
def test_a_name_that_is_free_is_no_double(files: dict[str, str]) -> None:
    assert doubled(planted(files)) == {}


def test_actions_events_codes_settings_and_the_like_stand_for_one_thing() -> None:
    assert shared_data_names(sources("guilder")) == []


@pytest.mark.parametrize("files", SHARED)
def test_a_planted_shared_name_of_data_is_found(files: dict[str, str]) -> None:
    [problem] = shared_data_names(planted(files))
    assert problem.count("guilder/") == 2


def test_names_of_different_data_may_be_the_same() -> None:
    one = "class Seen:\n    type: ClassVar[str] = 'card'\n    code: ClassVar[str] = 'card'\n"
    assert shared_data_names(planted({A: f"{one}Job('card', 1.0, a)\nTable('card')"})) == []
