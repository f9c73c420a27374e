"""What identity refuses."""

from guilder.core.errors import Conflict, Invalid, Unauthenticated


class EmailTaken(Conflict):
    """Another user has the address."""

    code = "email_taken"
    detail = "There is a user with this e-mail address."


class WeakPassword(Invalid):
    """The password breaks the policy."""

    code = "weak_password"
    detail = "The password is too weak."


class InvalidCredentials(Unauthenticated):
    """No user, a wrong password or a user who is switched off: never told apart."""

    code = "invalid_credentials"
    detail = "The e-mail address or the password is wrong."
