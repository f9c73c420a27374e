"""What many tests say alike, where the value itself does not matter."""

from typing import Final

from guilder.core.actor import Actor

API: Final = "/api/v1"
NOW: Final = 1_800_000_000_000_000
"""Friday, 15 January 2027, 08:00 UTC."""

EMAIL: Final = "ada@example.test"
PASSWORD: Final = "correct horse battery"
ADA: Final = {"email": EMAIL, "password": PASSWORD}
"""The body of a signing up or in."""

CALLER: Final = Actor(None, None, "request-1", "192.0.2.1")
STRANGER: Final = Actor(None, None, "request-2", "203.0.113.9")
"""Two who are not signed in, from different places."""
