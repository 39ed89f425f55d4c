"""What the administrator's settings say of themselves."""

import pytest

from testbed.pods import endpoint
from webhook.admission.policy import CustomEndpoint, TrustBundle


@pytest.mark.parametrize(
    ("custom", "as_file"),
    [
        (endpoint(), False),
        (endpoint(ca_data="PEM"), False),
        (endpoint(ca_configmap="kube-root-ca.crt"), True),
        (endpoint(ca_bundle=TrustBundle("example.test/signer")), True),
    ],
)
def test_a_ca_file(custom: CustomEndpoint, as_file: bool) -> None:  # noqa: FBT001  the expected value
    """The CA is a file in the volume when it comes from a ConfigMap or a ClusterTrustBundle."""
    assert custom.has_ca_file is as_file
