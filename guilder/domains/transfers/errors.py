"""What transfers refuse beside the ledger's own refusals."""

from guilder.core.errors import Invalid


class BatchRejected(Invalid):
    """Nothing of an atomic batch was posted; ``extra`` carries accepted, rejected and results."""

    code = "batch_rejected"
    detail = "A transfer of the batch was refused, so none was posted. The results say which."
