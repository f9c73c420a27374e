"""What every route of the plain service depends on: a session a request, and the token's user."""

import os
from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

import jwt
from fastapi import Depends, HTTPException
from fastapi.security import OAuth2PasswordBearer
from sqlalchemy.ext.asyncio import AsyncSession

from bench.plain_models import User, open_sessions

SECRET = os.environ.get("PLAIN_SECRET", "a benchmark secret, long enough for HS256")
TOKEN_SECONDS = 15 * 60

writers, readers = open_sessions(os.environ.get("PLAIN_DATABASE_URL", "sqlite:///plain.sqlite3"))
bearer = OAuth2PasswordBearer(tokenUrl="/api/v1/sessions")

Token = Annotated[str, Depends(bearer)]


async def open_session() -> AsyncIterator[AsyncSession]:
    """Give each request that writes a session of its own."""
    async with writers() as session:
        yield session


async def open_read_session() -> AsyncIterator[AsyncSession]:
    """Give each request that only reads a session of its own."""
    async with readers() as session:
        yield session


Session = Annotated[AsyncSession, Depends(open_session)]
ReadSession = Annotated[AsyncSession, Depends(open_read_session)]


async def load_user(session: AsyncSession, token: str) -> User:
    """Check the token and load its user."""
    try:
        claims = jwt.decode(token, SECRET, algorithms=["HS256"])
    except jwt.InvalidTokenError as error:
        raise HTTPException(401, "invalid token") from error
    user = await session.get(User, UUID(claims["sub"]))
    if user is None or not user.is_active:
        raise HTTPException(401, "unknown user")
    return user


async def current_writer(session: Session, token: Token) -> User:
    """Load the user in the session that the request writes with."""
    return await load_user(session, token)


async def current_reader(session: ReadSession, token: Token) -> User:
    """Load the user in the session that the request reads with."""
    return await load_user(session, token)


Writer = Annotated[User, Depends(current_writer)]
Reader = Annotated[User, Depends(current_reader)]
