"""The settings as people are shown them: where each comes from, and no secret."""

import re
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from pydantic import SecretStr

from guilder.infra.process.given import PREFIX, Source, given_names
from guilder.infra.process.settings import Settings
from guilder.infra.security.keys import ENCRYPTION_KEY, SECRET_KEY

STARS: Final = "********"
_SECRET_PARAMETER: Final = re.compile(
    r"(?P<name>\b[^&=]*(?:pass|pwd|secret|token)[^&=]*)=[^&]*", re.IGNORECASE
)
_WORKED_OUT: Final = {
    "metrics_public": "shows_metrics",
    "require_email_verification": "requires_verification",
}
"""Switches whose default depends on other settings, and which property works it out."""


def describe_settings(settings: Settings) -> list[dict[str, str]]:
    """Each setting with value, source and description; what is secret is masked."""
    given = given_names(Settings)
    rows = []
    for name, field in Settings.model_fields.items():
        variable = PREFIX + name.upper()
        source = given.get(variable, Source.DEFAULT)
        if name in (SECRET_KEY, ENCRYPTION_KEY) and _is_generated(settings, name):
            source = Source.GENERATED
        rows.append(
            {
                "name": variable,
                "value": _shown(settings, name),
                "source": source.value,
                "description": field.description or "",
            }
        )
    return rows


def _is_generated(settings: Settings, name: str) -> bool:
    given = getattr(settings, name), getattr(settings, f"{name}_file"), settings.secrets_url
    return not any(given)


def _shown(settings: Settings, name: str) -> str:
    match getattr(settings, name):
        case _ if name == "database_url":
            return masked_url(settings.database)
        case _ if name == "redis_url":
            return masked_url(settings.redis)
        case tuple() as listed:
            return ",".join(map(str, listed))
        case SecretStr() as url if name == "mail_url":
            return masked_url(url.get_secret_value())
        case _ if name == "base_url":
            return settings.address
        case _ if name in _WORKED_OUT:
            return "on" if getattr(settings, _WORKED_OUT[name]) else "off"
        case None:
            return ""
        case bool(switch):
            return "on" if switch else "off"
        case SecretStr():
            return STARS
        case value:
            return str(value)


def masked_url(url: str) -> str:
    """An address without its passwords: that of the user, and those among the parameters."""
    parts = urlsplit(url)
    netloc, query = parts.netloc, _SECRET_PARAMETER.sub(rf"\g<name>={STARS}", parts.query)
    if parts.password is not None:
        user, _, host = netloc.rpartition("@")
        netloc = f"{user.partition(':')[0]}:{STARS}@{host}"
    return (
        url
        if (netloc, query) == (parts.netloc, parts.query)
        else urlunsplit(parts._replace(netloc=netloc, query=query))
    )
