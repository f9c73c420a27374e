"""A passkey, made and used in a browser at a bank as it was started."""

import sys
from typing import Any

from playwright.sync_api import CDPSession, Page

from tests.browser.walks.chrome import asked, chromium

EMAIL = "passkey@example.test"
PASSWORD = "correct horse battery staple"
API = "/api/v1"
CREATE = """async (options) => {
    const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options);
    return (await navigator.credentials.create({ publicKey })).toJSON();
}"""
GET = """async (options) => {
    const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
    return (await navigator.credentials.get({ publicKey })).toJSON();
}"""


def authenticator(page: Page) -> tuple[CDPSession, str]:
    """A virtual one that is built in, keeps passkeys and has verified its user."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": True,
        "hasUserVerification": True, "isUserVerified": True, "automaticPresenceSimulation": True,
    }  # fmt: skip
    made = devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    return devtools, made["authenticatorId"]


def made(page: Page, path: str, body: Any = None, token: str = "") -> Any:
    answer = asked(page, "POST", f"{API}/{path}", body, token)
    assert answer["status"] == 201, answer
    return answer["body"]


def main(base: str) -> None:
    with chromium() as browser:
        page = browser.new_page()
        devtools, device = authenticator(page)
        page.goto(f"{base}/reset-password")
        login = {"email": EMAIL, "password": PASSWORD}
        made(page, "users", login)
        token = made(page, "sessions", login)["access_token"]
        options = made(page, "passkeys/registrations", None, token)["public_key"]
        assert options["rp"]["id"] == "localhost", options["rp"]
        credential = page.evaluate(CREATE, options)
        shown = made(page, "passkeys", {"name": "Laptop", "credential": credential}, token)
        [kept] = devtools.send("WebAuthn.getCredentials", {"authenticatorId": device})[
            "credentials"
        ]
        assert (kept["rpId"], kept["isResidentCredential"]) == ("localhost", True)
        signed = page.evaluate(GET, made(page, "passkeys/challenges")["public_key"])
        session = made(page, "passkeys/sessions", {"credential": signed})
        assert session["user"]["email"] == EMAIL
        token = session["access_token"]
        signed = page.evaluate(GET, made(page, "passkeys/challenges")["public_key"])
        made(page, "sessions/current/step-ups", {"credential": signed}, token)
        gone = asked(page, "DELETE", f"{API}/passkeys/{shown['id']}", None, token)
        assert gone["status"] == 204, gone
        signed = page.evaluate(GET, made(page, "passkeys/challenges")["public_key"])
        refused = asked(page, "POST", f"{API}/passkeys/sessions", {"credential": signed})
        assert (refused["status"], refused["body"]["code"]) == (401, "invalid_passkey"), refused


if __name__ == "__main__":
    main(sys.argv[1])
