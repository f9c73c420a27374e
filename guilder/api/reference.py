"""The pages ``/docs`` and ``/redoc``: the API's reference for people, whole without a network.

Scripts and styles come from a package and are served from here, and no page has a script inside
it, so that the pages' policy can forbid all others.
"""

from functools import cache
from importlib import resources
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from guilder.api.headers import PAGE_POLICY
from guilder.core.errors import NotFound

_ASSETS: Final = "/docs/assets"
_PACKAGE: Final = "fastapi_offline"
_TYPES: Final = {
    "favicon.png": "image/png",
    "redoc.standalone.js": "text/javascript",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
}
"""What the package has."""

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
_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Guilder API</title>
<link rel="icon" href="{assets}/favicon.png">
{head}
</head>
<body>
{body}
</body>
</html>
"""
_SWAGGER: Final = _PAGE.format(
    assets=_ASSETS,
    head=f'<link rel="stylesheet" href="{_ASSETS}/swagger-ui.css">',
    body='<div id="page"></div>\n'
    f'<script src="{_ASSETS}/swagger-ui-bundle.js"></script>\n'
    f'<script src="{_ASSETS}/start.js"></script>',
)
_REDOC: Final = _PAGE.format(
    assets=_ASSETS,
    head="",
    body='<redoc spec-url="/openapi.json"></redoc>\n'
    f'<script src="{_ASSETS}/redoc.standalone.js"></script>',
)
_KEPT: Final = {"cache-control": "public, max-age=3600"}


@cache
def _packaged(name: str) -> bytes:
    return resources.files(_PACKAGE).joinpath("static", name).read_bytes()


async def docs(_: Request) -> Response:
    """Swagger UI."""
    return Response(_SWAGGER, media_type="text/html", headers=PAGE_POLICY)


async def redoc(_: Request) -> Response:
    """Redoc."""
    return Response(_REDOC, media_type="text/html", headers=PAGE_POLICY)


async def asset(request: Request) -> Response:
    """A script, style or picture of the pages. Raises ``NotFound`` for any other name."""
    name = request.path_params["name"]
    if name == "start.js":
        return Response(_START, media_type="text/javascript", headers=_KEPT)
    if name not in _TYPES:
        raise NotFound()
    return Response(_packaged(name), media_type=_TYPES[name], headers=_KEPT)


ROUTES: Final = (
    Route("/docs", docs),
    Route("/redoc", redoc),
    Route(_ASSETS + "/{name}", asset),
)
