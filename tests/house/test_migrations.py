"""Migrations stand in one line: two that follow the same one cannot both be the newest."""

from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory

from guilder.db.migrate import config

MIGRATION = 'revision = "{}"\ndown_revision = {}\n'


def heads(found: Config) -> list[str]:
    return sorted(ScriptDirectory.from_config(found).get_heads())


def test_there_is_one_newest_migration() -> None:
    assert len(heads(config())) == 1, "let down_revision of the later one name the other"


def test_a_planted_second_line_is_found(tmp_path: Path) -> None:
    (tmp_path / "versions").mkdir()
    for name, before in (("a", None), ("b", '"a"'), ("c", '"a"')):
        text = MIGRATION.format(name, before)
        (tmp_path / "versions" / f"{name}.py").write_text(text, encoding="utf-8")
    planted = Config()
    planted.set_main_option("script_location", str(tmp_path))
    planted.set_main_option("path_separator", "os")
    assert heads(planted) == ["b", "c"]
