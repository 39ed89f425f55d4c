"""Messages of the webhook as CEL."""

import pytest

from azure_workload_identity import names
from webhook.admission.identity import Account
from webhook.admission_policy.messages import FIRST, refusal, warning
from webhook.admission_policy.provoked import ACCOUNT_NAME, pod, warnings


def test_refusal() -> None:
    """A refusal's message alternates between texts and values to quote."""
    message = refusal(lambda: warnings(pod({names.TOKEN_EXPIRATION: FIRST})), "variables.text")
    assert message == (
        f"['{names.TOKEN_EXPIRATION} ', string(variables.text), "
        "' of the pod is not a number of seconds from 3600 to 86400 (invalid-token-expiration)']"
    )


def test_nothing_refused() -> None:
    """A pod that is not refused has no message."""
    with pytest.raises(AssertionError, match="nothing was refused"):
        refusal(lambda: warnings(pod()))


def test_warning() -> None:
    """A warning's text has an expression in the place of a value that it does not quote."""
    message = warning(warnings(pod(), Account()), stand_ins={ACCOUNT_NAME: "params.metadata.name"})
    assert message.startswith("['azure-workload-identity: ServiceAccount ' + string(params.metadata.name) + ' has no ")
    assert message.endswith("(no-client-id)']")
