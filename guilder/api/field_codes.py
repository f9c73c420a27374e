"""The codes of the fields that a problem names, each with when it is given."""

from collections.abc import Mapping
from typing import Final

FIELD_CODES: Final[Mapping[str, str]] = {
    "control_character": "A text has control characters.",
    "currency_not_offered": "As the code of the problem.",
    "duplicate_key": "Two keys of `metadata` are the same when trimmed.",
    "holds_name": "A new password is little more than the name of the bank or of the address.",
    "invalid": "It breaks a rule that has no code of its own.",
    "invalid_account_number": "No account number of 12 digits.",
    "invalid_base64url": "No base64url without padding.",
    "invalid_date": "No date, `YYYY-MM-DD`.",
    "invalid_email": "No e-mail address.",
    "invalid_instant": "No RFC 3339 instant with `Z` or an offset.",
    "invalid_key": "No idempotency key: 1 to 255 printable ASCII characters.",
    "invalid_month": "No month, `YYYY-MM`.",
    "invalid_uuid": "No UUID in its canonical form.",
    "is_email": "A new password is the e-mail address.",
    "month_before_opening": "As the code of the problem.",
    "month_in_future": "As the code of the problem.",
    "not_a_choice": "None of the values that there are.",
    "not_with_at": "`on` beside `at`.",
    "not_with_cursor": "An `offset` beside a `cursor`.",
    "not_with_password": "A refresh token without `grant_type=refresh_token`.",
    "out_of_range": "A number is below or above what is allowed.",
    "required": "It is missing, or none or several of the fields of which one is needed are there.",
    "too_common": "A new password is one that everybody tries first.",
    "too_few": "An array has too few items.",
    "too_long": "A text has too many characters.",
    "too_many": "An array or object has too many items.",
    "too_short": "A text has too few characters that can be seen.",
    "too_simple": "A new password is made of rows and repetitions.",
    "unknown_currency": "No ISO 4217 currency that accounts can be held in.",
    "unknown_field": "There is no such field.",
    "wrong_type": "Another JSON type, or in a query what is no such value.",
}
"""Open: others may come. What programs look at beside the problem's own code."""
