"""Requests to Azure: retries, pages, operations, and errors as sentences."""

from collections.abc import Iterator

import pytest

from azwi_cli.azure import pipeline
from azwi_cli.azure.errors import AzureApiError
from azwi_cli.azure.ids import MSI
from azwi_cli.azure.pipeline import Endpoint
from azwi_cli.console.dry_run import Plan
from azwi_cli.console.errors import CommandError
from testbed.azure_management import Azure, Failure
from testbed.azure_management.login import Credential

VERSION = {"api-version": "2023-01-31"}


@pytest.fixture
def arm(azure: Azure) -> Iterator[Endpoint]:
    """Connect to ARM, with a token."""
    with Endpoint(azure.arm, Credential(azure), azure.arm, "ask for a role") as endpoint:
        yield endpoint


@pytest.fixture
def graph(azure: Azure) -> Iterator[Endpoint]:
    """Connect to Graph, with a token."""
    with Endpoint(azure.graph, Credential(azure), azure.graph) as endpoint:
        yield endpoint


def test_pages(azure: Azure, graph: Endpoint) -> None:
    """A collection is read to its last page, each page with the filter."""
    for _ in range(5):
        azure.add_application("web's")
    azure.add_application("other")
    query = {"$filter": "displayName eq " + pipeline.quoted("web's")}
    assert len(list(graph.pages("/v1.0/applications", query))) == 5
    assert azure.sent("GET") == ["GET /v1.0/applications"] * 3


def test_pages_elsewhere(azure: Azure, graph: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """A next page that is on another host gets no token."""
    azure.add_application("web")
    monkeypatch.setattr(type(azure), "page", lambda *_: {"value": [], "@odata.nextLink": "https://elsewhere.test/x"})
    with pytest.raises(CommandError, match="leads away"):
        list(graph.pages("/v1.0/applications"))


def test_origins() -> None:
    """ARM spells its own address with the port or without; another host, port or scheme is elsewhere."""
    assert pipeline._origin("https://MANAGEMENT.azure.com:443/x") == pipeline._origin("https://management.azure.com")
    for other in ("https://management.azure.com:444", "http://management.azure.com", "https://azure.com"):
        assert pipeline._origin(other) != pipeline._origin("https://management.azure.com")


def test_throttling(azure: Azure, arm: Endpoint) -> None:
    """A request that is throttled is sent again when Azure says."""
    identity = azure.add_identity("web")
    azure.faults.throttle(2, retry_after="0.01")
    assert arm.get(identity["id"], VERSION)["name"] == "web"
    assert len(azure.requests) == 3


def test_throttling_without_end(azure: Azure, arm: Endpoint) -> None:
    """Throttling that does not end is reported, after a bounded number of tries."""
    azure.faults.throttle(99, retry_after="0.01")
    with pytest.raises(AzureApiError) as refused:
        arm.get("/subscriptions", VERSION)
    assert refused.value.status == 429
    assert "wait a minute" in refused.value.hint
    assert len(azure.requests) <= pipeline.RETRIES + 1


def test_retry_after_is_bounded(azure: Azure, arm: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long Azure wishes to be left alone, a person at a prompt waits a minute at most."""
    slept: list[float] = []
    monkeypatch.setattr("azure.core.pipeline.transport._base.time.sleep", slept.append)
    identity = azure.add_identity("web")
    azure.faults.throttle(1, retry_after="86400")
    arm.get(identity["id"], VERSION)
    assert slept == [pipeline.MAX_RETRY_AFTER]


@pytest.mark.parametrize("status", [500, 503, 504])
def test_creation_is_not_repeated(azure: Azure, graph: Endpoint, status: int) -> None:
    """A POST whose fate is unknown is not sent again, so that no second application comes of it."""
    azure.faults.failures.append(Failure(status, "UnknownError", method="POST", after=True))
    with pytest.raises(AzureApiError):
        graph.write("POST", "/v1.0/applications", {}, {"displayName": "web"})
    assert len(azure.applications) == 1


def test_creation_that_was_throttled_is_repeated(azure: Azure, graph: Endpoint) -> None:
    """A POST that Azure did not take is sent again."""
    azure.faults.throttle(1, retry_after="0.01", method="POST")
    graph.write("POST", "/v1.0/applications", {}, {"displayName": "web"})
    assert len(azure.applications) == 1


def test_operations(azure: Azure, arm: Endpoint) -> None:
    """A write that ARM carries out later is waited for."""
    azure.faults.asynchronous = True
    path = f"/subscriptions/{azure.subscription}/resourceGroups/g/providers/{MSI}/web"
    created = arm.write("PUT", path, VERSION, {"location": "westeurope"})
    assert created is not None
    assert created["name"] == "web"
    assert [line.split("/")[1] for line in azure.sent()] == ["subscriptions", "operations", "subscriptions"]


def test_operation_that_fails(azure: Azure, arm: Endpoint) -> None:
    """A long-running operation that ends as failed is a failure."""
    azure.faults.asynchronous, azure.faults.operation = True, "Failed"
    path = f"/subscriptions/{azure.subscription}/resourceGroups/g/providers/{MSI}/web"
    with pytest.raises(CommandError, match="operation failed"):
        arm.write("PUT", path, VERSION, {"location": "westeurope"})


def test_denied(azure: Azure, arm: Endpoint) -> None:
    """What the caller may not do is reported with Azure's reason and with who can allow it."""
    azure.permissions.clear()
    with pytest.raises(AzureApiError, match="AuthorizationFailed") as refused:
        arm.get(azure.add_identity("web")["id"], VERSION)
    assert (refused.value.status, refused.value.hint) == (403, "ask for a role")


def test_token_for_somebody_else(azure: Azure) -> None:
    """A token of the wrong audience gets 401, and the hint names what may be wrong."""
    with (
        Endpoint(azure.arm, Credential(azure), "https://other.test") as arm,
        pytest.raises(AzureApiError, match="InvalidAuthenticationToken") as refused,
    ):
        arm.get(azure.add_identity("web")["id"], VERSION)
    assert "--azure-env" in refused.value.hint


def test_no_answer(azure: Azure, monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint that does not answer is named."""
    monkeypatch.setattr("azure.core.pipeline.transport._base.time.sleep", lambda _: None)
    with (
        Endpoint("https://127.0.0.1:1", Credential(azure), azure.arm) as endpoint,
        pytest.raises(CommandError, match=r"no answer from https://127\.0\.0\.1:1") as failed,
    ):
        endpoint.get("/")
    assert "HTTPS_PROXY" in failed.value.hint


def test_untrusted(azure: Azure, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server whose certificate is not trusted gets no token."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    monkeypatch.setattr("azure.core.pipeline.transport._base.time.sleep", lambda _: None)
    with (
        Endpoint(azure.arm, Credential(azure), azure.arm) as endpoint,
        pytest.raises(CommandError, match="certificate verify failed"),
    ):
        endpoint.get("/")
    assert azure.requests == []


def test_no_json(azure: Azure, arm: Endpoint) -> None:
    """An answer that is not a JSON object, as of a captive portal, is reported."""
    azure.faults.failures.append(Failure(200, ""))
    azure.faults.raw = b"<html>log in</html>"
    with pytest.raises(CommandError, match="a JSON object"):
        arm.get("/subscriptions", VERSION)


def test_plan(azure: Azure) -> None:
    """With a plan, changes go there and not to Azure, and reads go to Azure."""
    identity, plan = azure.add_identity("web"), Plan()
    with Endpoint(azure.arm, Credential(azure), azure.arm, plan=plan) as arm:
        assert arm.get(identity["id"], VERSION)["name"] == "web"
        assert arm.write("PUT", "/x", VERSION, {"a": 1}) is None
    assert [request.text() for request in plan.requests] == [
        f'PUT {azure.arm}/x?api-version=2023-01-31\n{{\n  "a": 1\n}}'
    ]
    assert azure.writes() == []


def test_paths() -> None:
    """No value leads out of its place in a path or a filter."""
    assert pipeline.segment("../a?b") == "..%2Fa%3Fb"
    assert pipeline.quoted("o'neill") == "'o''neill'"


def test_clock(azure: Azure, graph: Endpoint) -> None:
    """Azure's clock is read from its answers, the throttled ones too, and the wait between two does not count."""
    azure.faults.clock_ahead = 3600
    azure.faults.throttle(1, retry_after="1")
    list(graph.pages("/v1.0/applications"))
    reading = graph.clock
    assert reading is not None
    assert 3598 < reading.ahead().total_seconds() <= 3600
    assert reading.round_trip.total_seconds() < 1
