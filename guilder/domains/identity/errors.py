"""What identity refuses."""

from uuid import UUID

from guilder.core.errors import BadRequest, Conflict, Forbidden, Invalid, NotFound, Unauthenticated


class EmailTaken(Conflict):
    """Another user has the address."""

    code = "email_taken"
    detail = (
        "There is a login with this e-mail address. Sign in, or set a new password if you have "
        "forgotten yours."
    )


class WeakPassword(Invalid):
    """The password breaks the policy."""

    code = "weak_password"
    detail = "The password is too weak."


class InvalidCredentials(Unauthenticated):
    """No user, a wrong password or a user who is switched off: never told apart."""

    code = "invalid_credentials"
    wrong_guess = True
    detail = "The e-mail address or the password is wrong."


class AccountLocked(Forbidden):
    """Too many wrong passwords or codes: for an address, whether or not it has a user, or within a
    session. ``locked_until`` says until when.
    """

    code = "account_locked"
    wrong_guess = True
    detail = "There were too many failed attempts. Try again later."


class EmailUnverified(Forbidden):
    """Somebody has signed up with this address and password and has not proved the address.

    Whether it has another login is not told, so this counts as a wrong guess.
    """

    code = "email_unverified"
    wrong_guess = True
    detail = "Confirm the e-mail address first: the link is in the letter that was sent to it."


class TokenInvalid(BadRequest):
    """Nobody was sent such a token, or it has been used."""

    code = "token_invalid"
    detail = "The token is not good, or was used already. Ask for another one."


class TokenExpired(BadRequest):
    """The token was good once."""

    code = "token_expired"
    detail = "The token has expired. Ask for another one."


class WrongPassword(Forbidden):
    """The caller is signed in, and the password they give again is not theirs."""

    code = "wrong_password"
    wrong_guess = True
    detail = "The password is wrong."


class SecondFactorRequired(Unauthenticated):
    """The password is right, and the user has a second factor that was not given."""

    code = "second_factor_required"
    detail = "A code of the authenticator app or a recovery code is required as well."


class InvalidSecondFactor(Unauthenticated):
    """The password is right, and the code is wrong or was used before."""

    code = "invalid_second_factor"
    wrong_guess = True
    detail = "The code is wrong or was used before."


class InvalidPasskey(Unauthenticated):
    """The passkey does not prove anybody: which step failed is never told."""

    code = "invalid_passkey"
    wrong_guess = True
    detail = "The passkey was not accepted. Ask for a new challenge and try again."


class FactorRequired(Forbidden):
    """The caller gave a password again and has a second factor."""

    code = "factor_required"
    detail = "The password alone is not enough. Give a code or a passkey."


class WrongFactor(Forbidden):
    """The caller is signed in, and the code or passkey is not good."""

    code = "wrong_factor"
    wrong_guess = True
    detail = "The code or the passkey is wrong or was used before."


class TotpActive(Conflict):
    """The user has an authenticator app already."""

    code = "totp_active"
    detail = "An authenticator app is set up already. Remove it first."


class TotpNotFound(NotFound):
    """The user has no authenticator app, or did not begin to set one up a moment ago."""

    code = "totp_not_found"
    detail = "There is no such authenticator app. Set one up first."


class TooManyPasskeys(Conflict):
    """The user has as many passkeys as one may have."""

    code = "too_many_passkeys"
    detail = "There are too many passkeys. Remove one first."


class PasskeyTaken(Conflict):
    """The passkey is registered already."""

    code = "passkey_taken"
    detail = "This passkey is registered already."


class PasskeyNotFound(NotFound):
    """There is no such passkey, or it is somebody else's."""

    code = "passkey_not_found"
    detail = "There is no such passkey."


class SessionNotFound(NotFound):
    """There is no such session, or it is somebody else's."""

    code = "session_not_found"
    detail = "There is no such session."


class RefreshInvalid(Unauthenticated):
    """The refresh token was never given out, or its session has ended."""

    code = "refresh_invalid"
    detail = "The refresh token is not valid. Sign in again."


class RefreshReused(Unauthenticated):
    """The refresh token was used before: somebody else may have it, so its session ends."""

    code = "refresh_reused"
    detail = "The refresh token was used before. The session has been ended; sign in again."

    def __init__(self, session_id: UUID, user_id: UUID) -> None:
        super().__init__()
        self.session_id = session_id
        self.user_id = user_id


class UnsupportedGrantType(BadRequest):
    """The kind of grant is none that tokens are given out for here."""

    code = "unsupported_grant_type"
    detail = "Tokens are not given out for this kind of grant here."


class UserNotFound(NotFound):
    """There is no such user."""

    code = "user_not_found"
    detail = "There is no such user."


class AccountsHoldMoney(Conflict):
    """Accounts of the user hold or owe money, or have some of it held."""

    code = "accounts_hold_money"
    detail = "Your accounts still hold or owe money. Bring their balances to zero first."


class LoginIsClosed(Conflict):
    """The user has closed the login, for good."""

    code = "login_closed"
    detail = "This login was closed by its user and cannot be switched on again."


class LastAdmin(Conflict):
    """The change would leave the bank without an admin who can come in."""

    code = "last_admin"
    detail = "This is the last active admin. Make another one first."
