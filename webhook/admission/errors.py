"""Failures that are answered with an HTTP status instead of an AdmissionReview."""


class HttpError(Exception):
    """The request cannot be answered with an AdmissionReview; the cluster's failurePolicy decides.

    `status` is the HTTP status, `code` a stable word for metrics and logs, `message` a sentence for the caller.
    """

    status: int
    code: str

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
