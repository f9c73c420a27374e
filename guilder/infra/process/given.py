"""Which settings were given: in the environment, and in ``.env``, whose every line counts."""

import codecs
import difflib
import io
import os
from collections.abc import Collection, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

from dotenv.parser import parse_stream
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource

PREFIX: Final = "GUILDER_"
ENV_FILE: Final = ".env"
ENCODING: Final = "utf-8-sig"
"""UTF-8, with the mark before it that Windows makes or without."""

_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Source(StrEnum):
    """Where the value of a setting comes from."""

    DEFAULT = "default"
    ENVIRONMENT = "environment"
    ENV_FILE = ENV_FILE
    GENERATED = "generated"


def env_file_problems(path: Path) -> list[str]:
    """What cannot be read of a file of settings, if it is there; values are not shown.

    What was meant might be ``GUILDER_ENV=production``: to leave it out would be to run a sandbox.
    """
    if not os.path.exists(path):  # also where we may not look, such as another user's home
        return []
    try:
        data = path.read_bytes()
    except OSError as error:
        return [f"{path} cannot be read: {error.strerror}"]
    if data.startswith(_UTF_16) or b"\0" in data:
        return [f"{path} is UTF-16, as Windows calls Unicode: save it as UTF-8"]
    try:
        text = data.decode(ENCODING)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return [f"{path} line {line} is not UTF-8: save it as UTF-8"]
    return list(_unread_lines(path, text))


def _unread_lines(path: Path, text: str) -> Iterator[str]:
    for found in parse_stream(io.StringIO(text)):
        said = found.original.string
        line = found.original.line + len(said) - len(said.lstrip("\r\n"))
        name = (found.key or "").upper()
        if found.error:
            yield f'{path} line {line} cannot be read: write NAME=value, or NAME="value"'
        elif name.startswith(PREFIX) and found.value is None:
            yield f"{path} line {line} gives {name} no value: write {name}=value"
        elif name.startswith(PREFIX[:-1]) and not name.startswith(PREFIX):
            yield f"{path} line {line} is no setting: their names begin with {PREFIX}"


def given_names(kind: type[BaseSettings]) -> dict[str, Source]:
    """Every ``GUILDER_`` name that has a value, and where."""
    read = {
        Source.ENV_FILE: DotEnvSettingsSource(kind).env_vars,
        Source.ENVIRONMENT: EnvSettingsSource(kind).env_vars,
    }
    return {
        name.upper(): source
        for source, values in read.items()
        for name, value in values.items()
        if name.upper().startswith(PREFIX) and value
    }


def unknown_names(given: Mapping[str, Source], known: Collection[str]) -> list[str]:
    """Names that are no setting, each with the nearest that is."""
    problems = []
    for name, source in given.items():
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            problems.append(f"{name} ({source}) is not a setting{hint}")
    return problems
