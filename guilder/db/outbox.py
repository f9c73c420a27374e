"""The outbox: every event is a row written in the transaction of the change it tells of.

What an event is delivered to is written down beside it, see ``deliveries``. The ledger's poster
appends its rows past ``record``: one a batch, which the batches number without gaps.
"""

import json

from sqlalchemy import Column, Identity, Insert, Table

from guilder.core.events import Event
from guilder.db.base import STRICT, Big, String, metadata, only_changes
from guilder.db.digests import no_digests

outbox = Table(
    "outbox",
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("stream", String, nullable=False),
    Column("type", String, nullable=False),
    Column("payload", String, nullable=False),
    Column("created_at", Big, nullable=False),
    **only_changes(rows_stay=False),
    **STRICT,
)

no_digests(outbox, "they repeat what the books or the trail say, and are pruned")


def insert_event(event: Event, at_us: int) -> Insert:
    """The statement that stores one event."""
    return outbox.insert().values(
        stream=event.stream,
        type=event.type,
        payload=json.dumps(event.payload(), separators=(",", ":")),
        created_at=at_us,
    )
