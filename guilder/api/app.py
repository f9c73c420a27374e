"""The application class: FastAPI with the gateway around it."""

from functools import cached_property
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from guilder.api.compression import FixedBody
from guilder.api.middleware import HANDLED, Gateway, GatewayOptions, answer_error
from guilder.api.openapi import openapi_of
from guilder.api.reference import REVALIDATED, ROUTES
from guilder.api.replies import to_json
from guilder.core.parts import Parts


def operation_id(route: APIRoute) -> str:
    """The name of the endpoint's function as clients spell it: ``createTransfer``.

    It is what the methods of generated clients are called, so an endpoint is never renamed.
    """
    first, *others = route.name.split("_")
    return first + "".join(map(str.capitalize, others))


class Api(FastAPI):
    """A FastAPI application whose every request goes through the gateway.

    Routers are included as usual, before the first request. ``parts`` are set before it as well;
    a ``TokenCache`` must be among them for routes with a signed-in caller, ``RateLimits`` may be.
    """

    def __init__(self, *, gateway: GatewayOptions | None = None, **settings: Any) -> None:
        settings.setdefault("generate_unique_id_function", operation_id)
        super().__init__(
            redirect_slashes=False, docs_url=None, redoc_url=None, openapi_url=None, **settings
        )
        self.router.routes += ROUTES
        self.gateway_options = gateway or GatewayOptions()
        self.parts = Parts()
        for kind in HANDLED:
            self.add_exception_handler(kind, answer_error)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, past the layers that FastAPI puts around its middleware."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        scope["app"] = self
        if self.middleware_stack is None:
            self.middleware_stack = self.build_middleware_stack()
        await self.middleware_stack(scope, receive, send)

    def build_middleware_stack(self) -> ASGIApp:
        """The gateway, with FastAPI's own stack behind it for what is not in the table.

        Middleware that was added to the application goes around the gateway.
        """
        outer, self.user_middleware = self.user_middleware, []
        try:
            fallback = super().build_middleware_stack()
        finally:
            self.user_middleware = outer
        app: ASGIApp = Gateway(
            self.router.routes, fallback, self.gateway_options, self.exception_handlers
        )
        for middleware, args, kwargs in reversed(outer):
            app = middleware(app, *args, **kwargs)
        return app

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = openapi_of(self)
        return self.openapi_schema

    @cached_property
    def document(self) -> FixedBody:
        """The same as it is served; making it takes a moment, which no request should wait for."""
        return FixedBody(to_json(self.openapi()), "application/json", REVALIDATED)
