"""Dependencies that routes of several domains share: parts of the bank, and conditions."""

from typing import Annotated

from fastapi import Depends, Request

from guilder.api.auth import TokenCache
from guilder.api.exchange import Exchange, exchange_of
from guilder.core.errors import NotFound
from guilder.core.ids import NumberCipher
from guilder.db.run import Runner
from guilder.infra.process.settings import Settings


class Part[T]:
    """A dependency: the bank's part of a class, as the composition root has made it."""

    def __init__(self, kind: type[T]) -> None:
        self.kind = kind

    async def __call__(self, request: Request) -> T:
        """The part."""
        return exchange_of(request).parts[self.kind]


async def current_exchange(request: Request) -> Exchange:
    """The request and its answer."""
    return exchange_of(request)


TheCipher = Annotated[NumberCipher, Depends(Part(NumberCipher))]
TheExchange = Annotated[Exchange, Depends(current_exchange)]
TheRunner = Annotated[Runner, Depends(Part(Runner))]
TheTokens = Annotated[TokenCache, Depends(Part(TokenCache))]


async def base_url(request: Request) -> str:
    """The bank's own address, as letters have it."""
    return exchange_of(request).parts[Settings].address


BaseUrl = Annotated[str, Depends(base_url)]


async def require_sandbox(request: Request) -> None:
    """Raises ``NotFound`` outside the sandbox: simulators exist nowhere else."""
    if not exchange_of(request).parts[Settings].sandbox:
        raise NotFound()
