"""Changes that the owner of a login is told of, in the words of the letter."""

from enum import Enum


class SecurityChange(Enum):
    """What has changed, as the letter says it. ``{role}`` is the user's role now."""

    PASSKEY_ADDED = "A passkey was added. It signs in by itself, without the password."
    PASSKEY_REMOVED = "A passkey was removed, and all other sessions have ended."
    APP_ADDED = (
        "An authenticator app was set up. From now on its codes are asked for beside the password; "
        "all other sessions have ended."
    )
    APP_REMOVED = (
        "The authenticator app and its recovery codes were removed. The password alone signs in; "
        "all other sessions have ended."
    )
    RECOVERY_CODE_USED = (
        "A recovery code was used in the place of the authenticator app. It is good no more."
    )
    RECOVERY_CODES_RENEWED = "New recovery codes were made. The old ones are good no more."
    ROLE_CHANGED = "The bank has changed what you may do. Your role is now: {role}."
    FACTORS_REMOVED = (
        "The bank has removed your authenticator app, recovery codes and passkeys, as far as there "
        "were any. All sessions have ended."
    )
    FACTORS_UNDONE = (
        "The change of your e-mail address was undone. All passkeys were removed, and all sessions "
        "have ended. An authenticator app ends in three days, unless its codes are used meanwhile."
    )
    FACTORS_GIVEN_UP = (
        "All passkeys were removed with the link that we sent after a reset, and all sessions have "
        "ended. An authenticator app ends in three days, unless its codes are used meanwhile."
    )
