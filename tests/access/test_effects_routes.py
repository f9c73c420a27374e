"""Every operation of the reference is done, and changes nothing that is anybody else's.

A new one fails here until somebody does it, in ``walk``.
"""

from tests.access.walk import OPERATIONS, everything
from tests.access.world import World


async def test_who_does_what_they_may_changes_nothing_of_anybody_else(world: World) -> None:
    assert OPERATIONS.keys() - await everything(world) == set()
