"""What a row of the audit trail is to those who read it."""

from uuid import UUID

from guilder.domains.audit.rules import AuditEvent
from tests.support.constants import NOW


def event(number: int, at: int) -> AuditEvent:
    return AuditEvent(
        number,
        at,
        UUID(int=1),
        "note.write",
        "succeeded",
        "system",
        None,
        None,
        None,
        "r",
        "",
        None,
    )


def test_an_id_is_of_its_row_alone_and_tells_when_it_was_written() -> None:
    one = event(1, NOW).id
    assert one == event(1, NOW).id
    assert one.version == 7
    assert one.int >> 80 == NOW // 1000
    assert len({one, event(2, NOW).id, event(1, NOW + 1000).id}) == 3
