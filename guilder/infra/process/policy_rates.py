"""The settings of how often somebody may ask, one a policy."""

from typing import Annotated, Any

from pydantic import Field, PlainValidator
from pydantic_settings import NoDecode

from guilder.core.rates import RATES, Rate

PolicyRate = Annotated[
    Rate,
    NoDecode,
    PlainValidator(lambda given: given if isinstance(given, Rate) else Rate.read(str(given))),
]


def rate_field(policy: str) -> Any:
    """The field of a policy's rate, whose default is ``RATES``'."""
    link = f"[`{policy}`](rate-limits.md)"
    return Field(
        RATES[policy],
        description=f"Rate limit of the policy {link}: a number a time, such as `600/m`, `60/10m` "
        "or `200/d`.",
    )
