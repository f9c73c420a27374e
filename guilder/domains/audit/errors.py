"""What the audit trail refuses."""

from guilder.core.errors import Conflict


class ArchivedAlready(Conflict):
    """Somebody else has removed the rows meanwhile."""

    code = "archived_already"
    detail = "The rows have been removed meanwhile. Both archives hold them."
