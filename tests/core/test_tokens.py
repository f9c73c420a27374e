"""Opaque tokens."""

import base64

from guilder.core.tokens import new_opaque_token, opaque_hash


def test_opaque_tokens_are_random_and_known_by_their_hash() -> None:
    token, digest = new_opaque_token()
    assert len(base64.urlsafe_b64decode(token + "=")) == 32
    assert opaque_hash(token) == digest
    assert len(digest) == 32
    assert new_opaque_token()[0] != token
