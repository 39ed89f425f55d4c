"""Keys that look like ours."""

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
    """Case and punctuation do not hide which key was meant."""
    assert found(key) == [(key, names.CLIENT_ID)]


def test_known_keys_are_not_strange() -> None:
    """A key that counts where it stands is not looked at."""
    assert found(names.CLIENT_ID, known=names.ACCOUNT_ANNOTATIONS) == []


def test_a_key_in_the_wrong_place_means_itself() -> None:
    """A key that is right, but not here, comes with itself as the key that was meant."""
    assert found(names.USE_LABEL, known=names.ACCOUNT_ANNOTATIONS) == [(names.USE_LABEL, names.USE_LABEL)]


def test_our_prefix_with_an_unknown_name() -> None:
    """A key of our prefix that resembles none of ours is found without a meaning."""
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
    """Keys of others are left alone."""
    assert found(key) == []


def test_no_more_than_a_few_are_told() -> None:
    """However many strange keys there are, the author reads of a few."""
    assert len(found(*(f"azure.workload.identity/x{number}" for number in range(50)))) == MAX_UNRECOGNIZED


def test_skeletons_are_distinct() -> None:
    """No two keys of ours look alike."""
    ours = {names.USE_LABEL, *names.ACCOUNT_ANNOTATIONS, *names.POD_ANNOTATIONS}
    assert len({normalized(key) for key in ours}) == len(ours)
