"""Keys that resemble known ones."""

import pytest

from azure_workload_identity import names
from webhook.admission.misspellings import MAX_UNRECOGNIZED, normalized, unrecognized_keys


def found(*keys: str, known: frozenset[str] = frozenset()) -> list[tuple[str, str | None]]:
    """Return what unrecognized_keys finds."""
    return list(unrecognized_keys(keys, known))


@pytest.mark.parametrize(
    "key",
    [
        "azure.workload.identity/client_id",
        "azure.workload.identity/clientId",
        "azure.workload.identity/clientid",
        "Azure.Workload.Identity/Client-ID",
        "azure-workload-identity/client-id",
        "azure.workload.identity.client-id",
        "azure-workload-identity.client-id",
    ],
)
def test_spellings_of_a_key(key: str) -> None:
    """A key is recognised whatever its case and punctuation."""
    assert found(key) == [(key, names.CLIENT_ID)]


def test_known_keys_are_recognized() -> None:
    """A key that is valid on the object is not reported."""
    assert found(names.CLIENT_ID, known=names.ACCOUNT_ANNOTATIONS) == []


def test_a_key_in_the_wrong_place_means_itself() -> None:
    """A key that is right but on the wrong object comes with itself as the intended key."""
    assert found(names.USE_LABEL, known=names.ACCOUNT_ANNOTATIONS) == [(names.USE_LABEL, names.USE_LABEL)]


def test_our_prefix_with_an_unknown_name() -> None:
    """A key with our prefix that resembles no known key is found without an intended one."""
    assert found("azure.workload.identity/object-id") == [("azure.workload.identity/object-id", None)]


@pytest.mark.parametrize(
    "key",
    [
        "app",
        "identity.example.com/use",
        "iam.gke.io/gcp-service-account",
        "aadpodidbinding",
        "azure.workload.io/use",
        "",
    ],
)
def test_keys_of_others(key: str) -> None:
    """Keys of other projects are not reported."""
    assert found(key) == []


def test_only_a_few_are_reported() -> None:
    """However many unrecognized keys there are, only a few are reported."""
    assert len(found(*(f"azure.workload.identity/x{number}" for number in range(50)))) == MAX_UNRECOGNIZED


def test_skeletons_are_distinct() -> None:
    """No two known keys are alike."""
    known = {names.USE_LABEL, *names.ACCOUNT_ANNOTATIONS, *names.POD_ANNOTATIONS}
    assert len({normalized(key) for key in known}) == len(known)
