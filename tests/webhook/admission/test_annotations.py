"""A pod's annotations as one value."""

import pytest

from azure_workload_identity import names
from testbed.pods import codes, endpoint, parsed
from webhook.admission.annotations import MAX_NAMES, PodAnnotations
from webhook.admission.proxy import ProxyMode, ProxyRequest
from webhook.admission.reasons import Reason, Refusal

BINDING = names.CUSTOM_ENDPOINT_PREFIX + "identity-binding"


def test_annotations_of_others() -> None:
    """A pod without our annotations asks for nothing."""
    pod = parsed(annotations={"prometheus.io/scrape": "true", "azure-workload-identity/skip-containers": "app"})
    assert PodAnnotations.parse(pod, endpoint()) == PodAnnotations()


def test_everything_at_once() -> None:
    """Every annotation that counts is read."""
    pod = parsed(
        annotations={
            names.INJECT_CONTAINERS: "app; web",
            names.SKIP_CONTAINERS: "job,",
            names.TOKEN_EXPIRATION: "7200",
            names.INJECT_PROXY: "true",
            names.PROXY_MODE: "environment",
            names.PROXY_PORT: "8080",
            names.PROXY_CPU_REQUEST: "20m",
            BINDING: "true",
        }
    )
    requested = PodAnnotations.parse(pod, endpoint())
    assert requested.inject_containers == {"app", "web"}
    assert requested.skip_containers == {"job"}
    assert requested.token_expiration == 7200
    assert requested.proxy == ProxyRequest(ProxyMode.ENVIRONMENT, 8080, {"cpu_request": "20m"})
    assert requested.endpoint == endpoint()
    assert codes(requested.warnings) == ["unknown-container", "unknown-container"]


@pytest.mark.parametrize("expiration", ["", None])
def test_an_empty_expiration(expiration: str | None) -> None:
    """An empty expiration is not set."""
    annotations = {names.SKIP_CONTAINERS: "", **({} if expiration is None else {names.TOKEN_EXPIRATION: expiration})}
    assert PodAnnotations.parse(parsed(annotations=annotations), None).token_expiration is None


def test_annotations_of_a_proxy_that_is_not_requested() -> None:
    """What the proxy's other annotations hold does not matter without a proxy."""
    pod = parsed(annotations={names.INJECT_PROXY: "false", names.PROXY_PORT: "70000", names.PROXY_MODE: "?"})
    assert PodAnnotations.parse(pod, None) == PodAnnotations()


def test_values_without_effect() -> None:
    """A value that is neither true nor false, and an endpoint that is not set up, are warned of."""
    pod = parsed(annotations={names.INJECT_PROXY: "yes", BINDING: "on", BINDING + "s": "true"})
    requested = PodAnnotations.parse(pod, endpoint())
    assert (requested.proxy, requested.endpoint) == (None, None)
    assert codes(requested.warnings) == ["not-a-boolean", "custom-endpoint-off", "not-a-boolean"]


@pytest.mark.parametrize("annotation", [names.TOKEN_EXPIRATION, names.PROXY_PORT, names.PROXY_MEMORY_LIMIT])
def test_values_that_are_refused(annotation: str) -> None:
    """A value that cannot be meant refuses the pod, by the annotation's name."""
    with pytest.raises(Refusal, match=annotation):
        PodAnnotations.parse(parsed(annotations={names.INJECT_PROXY: "true", annotation: "lots"}), None)


@pytest.mark.parametrize("annotation", [names.INJECT_CONTAINERS, names.SKIP_CONTAINERS])
@pytest.mark.parametrize("separator", ";,")
def test_long_lists(annotation: str, separator: str) -> None:
    """A list of more names than a pod can have containers is refused before it is split."""
    text = separator.join(["a"] * (MAX_NAMES + 2))
    with pytest.raises(Refusal, match=f"{annotation} names more than 5000 containers") as refused:
        PodAnnotations.parse(parsed(annotations={annotation: text}), None)
    assert refused.value.reason is Reason.ANNOTATIONS_TOO_LARGE
    PodAnnotations.parse(parsed(annotations={annotation: separator.join(["a"] * (MAX_NAMES + 1))}), None)


@pytest.mark.parametrize(
    ("annotations", "audience"),
    [({}, None), ({names.SECOND_AUDIENCE: ""}, ""), ({names.SECOND_AUDIENCE: "api://other"}, "api://other")],
)
def test_the_second_audience(annotations: dict[str, str], audience: str | None) -> None:
    """A pod may set the audience of a second token, or turn that token off."""
    assert PodAnnotations.parse(parsed(annotations=annotations), None).second_audience == audience


@pytest.mark.parametrize("text", ["two words", "a\nb", "\u00e9", "x" * 254])
def test_impossible_audiences(text: str) -> None:
    """A value that cannot be an audience is refused."""
    with pytest.raises(Refusal, match="is not an audience") as refused:
        PodAnnotations.parse(parsed(annotations={names.SECOND_AUDIENCE: text}), None)
    assert refused.value.reason is Reason.INVALID_SECOND_AUDIENCE
