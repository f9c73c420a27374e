"""The pages that letters lead to. They hold nothing of anybody and are the same for all."""

from importlib import resources
from typing import Final

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from guilder.api.auth import anonymous_actor
from guilder.api.policies import READ, rate_limited

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
_FOLDER: Final = resources.files("guilder.domains.identity.routes").joinpath("pages")

router = APIRouter(include_in_schema=False, dependencies=[Depends(anonymous_actor)])


def _file(name: str, media_type: str) -> Response:
    headers = {"Content-Security-Policy": POLICY}
    return Response(_FOLDER.joinpath(name).read_bytes(), media_type=media_type, headers=headers)


@router.get("/verify-email")
@rate_limited(READ)
async def verify_email() -> Response:
    """Where the letter leads that proves an address."""
    return _file("verify-email.html", "text/html")


@router.get("/reset-password")
@rate_limited(READ)
async def reset_password() -> Response:
    """Where a new password is set, or a letter asked for with which that can be done."""
    return _file("reset-password.html", "text/html")


@router.get("/remove-factors")
@rate_limited(READ)
async def remove_factors() -> Response:
    """Where somebody who has reset the password removes factors that are not theirs."""
    return _file("remove-factors.html", "text/html")


@router.get("/confirm-email")
@rate_limited(READ)
async def confirm_email() -> Response:
    """Where the letter leads that proves a new address."""
    return _file("confirm-email.html", "text/html")


@router.get("/undo-email")
@rate_limited(READ)
async def undo_email() -> Response:
    """Where the letter leads that tells the old address of a change."""
    return _file("undo-email.html", "text/html")


@router.get("/pages/letters.css")
@rate_limited(READ)
async def style() -> Response:
    """What the pages look like."""
    return _file("letters.css", "text/css")


@router.get("/pages/letters.js")
@rate_limited(READ)
async def script() -> Response:
    """What the pages do."""
    return _file("letters.js", "text/javascript")
