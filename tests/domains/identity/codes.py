"""An authenticator app: RFC 6238 once more, so that the bank's is not its own judge."""

import hmac

from guilder.core.clock import Clock


def code_at(secret: bytes, clock: Clock, steps: int = 0) -> str:
    """What the app shows, with a clock that is ``steps`` of 30 seconds ahead."""
    step = clock.now_us() // 30_000_000 + steps
    digest = hmac.digest(secret, step.to_bytes(8), "sha1")
    offset = digest[-1] & 15
    number = int.from_bytes(digest[offset : offset + 4]) & 0x7FFF_FFFF
    return f"{number % 1_000_000:06}"
