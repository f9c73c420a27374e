"""Requests as bytes, straight to an application in this process: what no client would send too."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp, Message

type RawHeaders = list[tuple[bytes, bytes]]

JSON: RawHeaders = [(b"content-type", b"application/json")]


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: RawHeaders
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        """The value of a header that stands once at most."""
        found = [value for key, value in self.headers if key == name.encode()]
        assert len(found) <= 1, f"{name} stands {len(found)} times"
        return found[0].decode("latin-1") if found else None

    @property
    def code(self) -> str | None:
        """The code of a problem, None for anything else."""
        if self.header("content-type") != "application/problem+json":
            return None
        code: str = self.json()["code"]
        return code


async def ask(
    app: ASGIApp,
    method: str,
    target: str,
    headers: RawHeaders | None = None,
    body: bytes = b"",
    *,
    client: str = "192.0.2.7",
) -> Answer:
    """Ask for a target, percent-encoded as on the wire, the way uvicorn hands it on."""
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": unquote(path),
        "raw_path": path.encode("ascii"),
        "root_path": "",
        "query_string": query.encode("ascii"),
        "headers": headers or [],
        "client": (client, 1),
        "server": ("bank.test", 80),
    }
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[Message] = []

    async def receive() -> Message:
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start = sent[0]
    parts = [message.get("body", b"") for message in sent[1:]]
    return Answer(start["status"], list(start["headers"]), b"".join(parts))
