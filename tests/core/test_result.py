import pytest

from guilder.core.errors import Conflict, NotFound
from guilder.core.result import Err, Ok


def decided(n: int) -> Ok[int] | Err[NotFound]:
    return Ok(n) if n > 0 else Err(NotFound())


def test_an_accepted_decision_gives_its_value() -> None:
    match decided(3):
        case Ok(value):
            assert value == 3
        case Err():
            pytest.fail("it was accepted")
    assert Ok("x").unwrap() == "x"


def test_a_refused_decision_raises_the_very_refusal_it_carries() -> None:
    refusal = Conflict("No.")
    with pytest.raises(Conflict) as raised:
        Err(refusal).unwrap()
    assert raised.value is refusal
    assert isinstance(decided(0), Err)
