"""Conditions that routes of several domains stand under."""

from fastapi import Request

from guilder.api.exchange import exchange_of
from guilder.core.errors import NotFound


async def require_sandbox(request: Request) -> None:
    """Simulators exist only in the sandbox; elsewhere there is no such path."""
    if not exchange_of(request).services.settings.sandbox:
        raise NotFound()
