"""The pages ``/docs``, ``/redoc`` and ``/problems``: the reference for people, without a network.

Scripts and styles come from a package and are served from here, and no page has a script inside
it, so that the pages' policy can forbid all others.
"""

from collections.abc import Iterator
from functools import cache
from html import escape
from importlib import resources
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from guilder.api.compression import FixedBody
from guilder.api.headers import PAGE_POLICY
from guilder.api.problems import (
    TYPE_PREFIX,
    problem_title,
    problem_type,
    status_of,
)
from guilder.core.errors import NotFound, Refusal

_ASSETS: Final = "/docs/assets"
_PACKAGE: Final = "fastapi_offline"
_TYPES: Final = {
    "favicon.png": "image/png",
    "redoc.standalone.js": "text/javascript",
    "start.js": "text/javascript",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
}
"""What the package has, and a script of ours."""
REVALIDATED: Final = {"cache-control": "no-cache"}
"""Kept, and asked for each time whether it is still right."""

_START: Final = """\
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#page",
  deepLinking: true,
  layout: "BaseLayout",
  presets: [SwaggerUIBundle.presets.apis],
  validatorUrl: null,
});
"""
_TITLE: Final = "Guilder API"
_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="{assets}/favicon.png">
{head}
</head>
<body>
{body}
</body>
</html>
"""
_READING: Final = "<style>body{font:16px/1.5 sans-serif;max-width:40em;margin:2em auto}</style>"
_KEPT: Final = {"cache-control": "public, max-age=3600"}


def _page(head: str, body: str) -> FixedBody:
    page = _PAGE.format(title=_TITLE, assets=_ASSETS, head=head, body=body)
    return FixedBody(page.encode(), "text/html", {**PAGE_POLICY, **REVALIDATED})


_SWAGGER: Final = _page(
    f'<link rel="stylesheet" href="{_ASSETS}/swagger-ui.css">',
    '<div id="page"></div>\n'
    f'<script src="{_ASSETS}/swagger-ui-bundle.js"></script>\n'
    f'<script src="{_ASSETS}/start.js"></script>',
)
_REDOC: Final = _page(
    "",
    '<redoc spec-url="/openapi.json"></redoc>\n'
    f'<script src="{_ASSETS}/redoc.standalone.js"></script>',
)


@cache
def _asset(name: str) -> FixedBody:
    if name == "start.js":
        return FixedBody(_START.encode(), "text/javascript", _KEPT)
    body = resources.files(_PACKAGE).joinpath("static", name).read_bytes()
    return FixedBody(body, _TYPES[name], _KEPT)


async def docs(request: Request) -> Response:
    """Swagger UI."""
    return await _SWAGGER.answer(request)


async def redoc(request: Request) -> Response:
    """Redoc."""
    return await _REDOC.answer(request)


def refusal_kinds() -> Iterator[type[Refusal]]:
    """Every refusal of Guilder's that has been imported, once."""
    waiting = [Refusal]
    seen: set[type[Refusal]] = set()
    while waiting:
        for found in waiting.pop().__subclasses__():
            if found not in seen and found.__module__.startswith("guilder."):
                seen.add(found)
                waiting.append(found)
                yield found


def meaning_of(kind: type[Refusal]) -> str:
    """When a refusal is made, in one sentence."""
    return (kind.__doc__ or "").strip().split("\n\n")[0]


@cache
def _problems() -> dict[str, tuple[int, str, str]]:
    """Each code with its status, when it is answered, and what the answer says."""
    return {kind.code: (status_of(kind), meaning_of(kind), kind.detail) for kind in refusal_kinds()}


async def problems(_: Request) -> Response:
    """Every code of a problem."""
    rows = "\n".join(
        f'<li><a href="{problem_type(code)}"><code>{code}</code></a> ({status})</li>'
        for code, (status, _, _) in sorted(_problems().items())
    )
    return _text_page("Problems", f"<ul>\n{rows}\n</ul>")


async def problem(request: Request) -> Response:
    """What a code means: where the ``type`` of a problem leads. Raises ``NotFound``."""
    code = request.path_params["code"]
    if code not in _problems():
        raise NotFound()
    status, meaning, detail = _problems()[code]
    words = "".join(f"<p>{escape(text.replace('``', ''))}</p>\n" for text in (meaning, detail))
    more = f'<p><a href="{TYPE_PREFIX[:-1]}">All problems</a> · <a href="/docs">The API</a></p>'
    return _text_page(
        problem_title(code), f"<p><code>{code}</code>, status {status}</p>\n{words}{more}"
    )


def _text_page(title: str, body: str) -> Response:
    page = _PAGE.format(
        title=title, assets=_ASSETS, head=_READING, body=f"<h1>{title}</h1>\n{body}"
    )
    return Response(page, media_type="text/html", headers={**PAGE_POLICY, **_KEPT})


async def asset(request: Request) -> Response:
    """A script, style or picture of the pages. Raises ``NotFound`` for any other name."""
    name = request.path_params["name"]
    if name not in _TYPES:
        raise NotFound()
    return await _asset(name).answer(request)


async def openapi(request: Request) -> Response:
    """The OpenAPI document, which the server has made before the first request."""
    document: FixedBody = request.app.document
    return await document.answer(request)


ROUTES: Final = (
    Route("/docs", docs),
    Route("/redoc", redoc),
    Route("/openapi.json", openapi),
    Route(TYPE_PREFIX[:-1], problems),
    Route(TYPE_PREFIX + "{code}", problem),
    Route(_ASSETS + "/{name}", asset),
)
