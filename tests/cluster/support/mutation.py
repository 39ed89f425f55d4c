"""Whether the API server has pods mutated by now."""

from contextlib import suppress
from typing import Any, Protocol

from testbed.cluster.control_plane import ApiError
from testbed.cluster.server import wait_until_true


class Installed(Protocol):
    """A release or an installation."""

    def is_mutated(self, namespace: str, **fields: Any) -> bool:  # noqa: ANN401  a pod's
        """Whether a pod that is created in a dry run gets its identity."""


def mutated(release: Installed, namespace: str, **fields: Any) -> bool:  # noqa: ANN401  a pod's
    """Whether a pod is mutated; while the API server cannot call the webhook it is not."""
    try:
        return release.is_mutated(namespace, **fields)
    except ApiError:
        return False


def wait_until_mutated(release: Installed, namespace: str, **fields: Any) -> None:  # noqa: ANN401  a pod's
    """Wait until the API server calls a webhook whose servers are ready.

    They are ready once they have written the caBundle. The API server knows it a moment later, by its watch, and on a
    node kube-proxy writes the rules of the Service a moment later, too.
    """
    wait_until_true(lambda: mutated(release, namespace, **fields), "the API server has pods mutated")


def is_first_mutated(release: Installed, namespace: str, **fields: Any) -> bool:  # noqa: ANN401  a pod's
    """Whether the first pod is mutated for which the API server can call the webhook."""
    answers: list[bool] = []

    def answered() -> bool:
        with suppress(ApiError):
            answers.append(release.is_mutated(namespace, **fields))
        return answers != []

    wait_until_true(answered, "the API server reaches the webhook")
    return answers[0]
