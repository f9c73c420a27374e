"""Two OAuth2 clients of others sign in with a password and refresh by themselves."""

import sys
from contextlib import suppress
from typing import Any

import requests
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from oauthlib.oauth2 import InvalidGrantError, LegacyApplicationClient
from requests_oauthlib import OAuth2Session

EMAIL = "oauth@example.test"
PASSWORD = "correct horse battery staple"

type Token = dict[str, Any]


def with_requests_oauthlib(base: str) -> None:
    """requests-oauthlib."""
    client = LegacyApplicationClient(client_id="app")
    login = OAuth2Session(client=client)
    where = {"token_url": f"{base}/auth/login", "include_client_id": True}
    token = login.fetch_token(username=EMAIL, password=PASSWORD, **where)
    kept: list[Token] = []
    session = OAuth2Session(
        client_id="app", token=token, auto_refresh_url=f"{base}/api/v1/tokens",
        auto_refresh_kwargs={"client_id": "app"}, token_updater=kept.append,
    )  # fmt: skip
    assert session.get(f"{base}/api/v1/users/me").json()["email"] == EMAIL
    expired = token | {"expires_at": 1}
    session.token = expired
    assert session.get(f"{base}/api/v1/users/me").json()["email"] == EMAIL
    assert len(kept) == 1
    assert kept[0]["refresh_token"] != token["refresh_token"]
    with suppress(InvalidGrantError):
        OAuth2Session(client=client).fetch_token(username=EMAIL, password="wrong", **where)
        raise AssertionError("a wrong password was taken")


def with_authlib(base: str) -> None:
    """Authlib, which finds the endpoints by itself."""
    found = requests.get(f"{base}/.well-known/oauth-authorization-server", timeout=30).json()
    kept: list[Token] = []
    session = AuthlibSession(
        "app", token_endpoint=found["token_endpoint"], token_endpoint_auth_method="none",
        update_token=lambda new, **_: kept.append(dict(new)),
    )  # fmt: skip
    token = session.fetch_token(found["token_endpoint"], username=EMAIL, password=PASSWORD)
    assert session.get(f"{base}/api/v1/users/me").json()["email"] == EMAIL
    session.token["expires_at"] = 1
    assert session.get(f"{base}/api/v1/users/me").json()["email"] == EMAIL
    assert [new["refresh_token"] != token["refresh_token"] for new in kept] == [True]
    revoked = session.revoke_token(found["revocation_endpoint"], kept[0]["refresh_token"])
    assert revoked.status_code == 200
    assert session.get(f"{base}/api/v1/users/me").status_code == 401


def main(base: str) -> None:
    """Walk through the bank at an address."""
    new = {"email": EMAIL, "password": PASSWORD}
    assert requests.post(f"{base}/api/v1/users", json=new, timeout=30).status_code == 201
    with_requests_oauthlib(base)
    with_authlib(base)


if __name__ == "__main__":
    main(sys.argv[1])
