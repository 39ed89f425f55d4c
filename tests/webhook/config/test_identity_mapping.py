"""The identity mapping's file."""

from pathlib import Path

import pytest

from webhook.config.identity_mapping import load, parse

CLIENT = "7d5b2f6e-3c1a-4b8e-9a55-0c6f1e2d3a4b"


def written(tmp_path: Path, text: str) -> Path:
    """Write a mapping file."""
    path = tmp_path / "mapping.yaml"
    path.write_text(text)
    return path


def test_mapping(tmp_path: Path) -> None:
    """Entries say for which accounts they are and which identity those have."""
    mapping = load(
        written(
            tmp_path,
            f"""
mappings:
- namespace: shop-*
  serviceAccount: web
  clientId: {CLIENT}
  tenantId: contoso.onmicrosoft.com
  serviceAccountTokenExpiration: 7200
""",
        )
    )
    entry = mapping.find("shop-1", "web")
    assert entry is not None
    assert (entry.client_id, entry.tenant_id, entry.token_expiration) == (CLIENT, "contoso.onmicrosoft.com", 7200)
    assert mapping.find("shop", "web") is None


def test_all_accounts_of_a_namespace(tmp_path: Path) -> None:
    """Without a ServiceAccount an entry is for all of the namespace."""
    mapping = load(written(tmp_path, f"mappings:\n- namespace: shop\n  clientId: {CLIENT}\n"))
    assert mapping.find("shop", "anything") is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not YAML"),
        ("", "must be a map"),
        ("mappings: {}", "mappings: must be a list"),
        ("mapping: []", "mappings: is missing"),
        ("mappings: [{namespace: shop}]", "mappings.0.clientId: is missing"),
        (f"mappings: [{{clientId: {CLIENT}}}]", "mappings.0.namespace: is missing"),
        (f"mappings: [{{namespace: a, clientId: {CLIENT}, tenant: x}}]", "mappings.0.tenant: is not a known key"),
        (f"mappings: [{{namespace: a, clientId: {CLIENT}, tenantId: x}}]", "must be a UUID or a domain"),
        (
            f"mappings: [{{namespace: a, clientId: {CLIENT}, serviceAccountTokenExpiration: 60}}]",
            "greater than or equal to 3600",
        ),
    ],
)
def test_refused_mapping(tmp_path: Path, text: str, message: str) -> None:
    """An error in the file is reported with its place."""
    with pytest.raises(ValueError, match=r"mapping\.yaml") as refused:
        load(written(tmp_path, text))
    assert message in str(refused.value)


def test_missing_file(tmp_path: Path) -> None:
    """A file that is not there is named."""
    with pytest.raises(ValueError, match="No such file"):
        load(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000])
def test_deep(text: str) -> None:
    """YAML that is nested too deep for a loader is refused."""
    with pytest.raises(ValueError, match="nested deeper than"):
        parse(text)


def test_faults() -> None:
    """Of a document with invalid entries the valid ones are used, and the others are reported with their places."""
    text = f"mappings:\n- {{namespace: shop, clientId: {CLIENT}}}\n- {{namespace: shop}}\n- 7\n"
    parsed = parse(text)
    assert [entry.namespace for entry in parsed.entries] == ["shop"]
    assert [fault.partition(":")[0] for fault in parsed.faults] == ["mappings.1.clientId", "mappings.2"]
