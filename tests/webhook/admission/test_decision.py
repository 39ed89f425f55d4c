"""Whether a pod is mutated, skipped or refused, and the warnings for its author."""

import pytest

from azure_workload_identity import names
from testbed.pods import (
    ACCOUNT,
    NAMESPACE,
    OTHER_CLIENT_ID,
    POLICY,
    USE,
    account,
    codes,
    container,
    endpoint,
    mapping,
    parsed,
    pod,
    policy,
    review,
)
from webhook.admission.annotations import PodAnnotations
from webhook.admission.decision import (
    MAX_INJECTED_CONTAINERS,
    Injection,
    Skip,
    decide,
    opted_in,
    out_of_scope,
    selected_containers,
)
from webhook.admission.identity import Account
from webhook.admission.pod import Pod
from webhook.admission.policy import OptIn, Policy
from webhook.admission.reasons import Reason, Refusal

ALL = policy(*OptIn)
BINDING = names.CUSTOM_ENDPOINT_PREFIX + "identity-binding"
BUSY = {"containers": (container("app"), container("web")), "init": (container("migrate"),)}


def decided(
    candidate: Pod, found: Account | None = ACCOUNT, rules: Policy = POLICY, *, opted_in: bool | None = True
) -> Injection | Skip:
    """Decide on a pod of the test namespace."""
    return decide(candidate, NAMESPACE, found, rules, opted_in=opted_in)


def test_the_creation_of_a_pod() -> None:
    """Only the creation of a pod is looked into."""
    assert out_of_scope(review(pod())) is None


@pytest.mark.parametrize("operation", ["UPDATE", "DELETE", "CONNECT"])
def test_other_operations(operation: str) -> None:
    """Other operations on pods are let through, whatever the object is."""
    assert out_of_scope(review(None, operation=operation)) == Skip(Reason.NOT_CREATE)


def test_other_resources() -> None:
    """Other resources are let through."""
    assert out_of_scope(review(pod(), subResource="ephemeralcontainers")) == Skip(Reason.NOT_A_POD)


@pytest.mark.parametrize(
    ("label", "namespace_labelled", "rules", "expected"),
    [
        ("true", False, POLICY, True),
        (None, False, POLICY, False),
        (None, True, POLICY, False),
        ("True", False, POLICY, False),
        ("false", True, ALL, False),
        ("False", True, ALL, False),
        ("0", True, ALL, False),
        (None, True, policy(OptIn.NAMESPACE_LABEL), True),
        (None, False, policy(OptIn.NAMESPACE_LABEL), False),
        ("true", False, policy(OptIn.NAMESPACE_LABEL), False),
        ("maybe", True, policy(OptIn.NAMESPACE_LABEL), True),
        (None, False, policy(OptIn.SERVICE_ACCOUNT), None),
        (None, True, policy(OptIn.SERVICE_ACCOUNT), None),
        ("true", False, policy(OptIn.SERVICE_ACCOUNT), None),
        ("false", False, policy(OptIn.SERVICE_ACCOUNT), False),
        ("true", False, ALL, True),
        (None, False, ALL, None),
    ],
)
def test_opting_in(
    label: str | None,
    namespace_labelled: bool,  # noqa: FBT001  what the API server has seen
    rules: Policy,
    expected: bool | None,  # noqa: FBT001  the expected value
) -> None:
    """A false label opts out always; else the pod's label, the namespace's and the account count as far as set."""
    candidate = parsed(labels={} if label is None else {names.USE_LABEL: label})
    assert opted_in(candidate, rules, namespace_labelled=namespace_labelled) is expected


def test_an_opted_in_pod_is_mutated() -> None:
    """An opted-in pod gets the identity of its account, without a warning."""
    decision = decided(parsed())
    assert isinstance(decision, Injection)
    assert decision.containers == {"app"}
    assert (decision.proxy, decision.endpoint, decision.warnings) == (None, None, ())


def test_a_pod_that_is_not_opted_in() -> None:
    """Any other pod is left alone, without a warning where nothing suggests that it should take part."""
    assert decided(parsed(labels={}), None, opted_in=False) == Skip(Reason.NOT_OPTED_IN)


def test_a_pod_that_opts_out() -> None:
    """A pod whose label is false is left alone without a warning."""
    labels = {names.USE_LABEL: "false"}
    candidate = parsed(labels=labels, annotations={names.INJECT_PROXY: "true"})
    assert decided(candidate, opted_in=False) == Skip(Reason.OPTED_OUT)


def test_a_missing_account() -> None:
    """An opted-in pod whose account does not exist is refused, as the API server would."""
    with pytest.raises(Refusal, match='serviceaccounts "app" not found in namespace shop') as refused:
        decided(parsed(), None)
    assert refused.value.reason is Reason.SERVICE_ACCOUNT_NOT_FOUND


@pytest.mark.parametrize(
    ("found", "rules", "mutated"),
    [
        (account(), ALL, True),
        (account(client_id=""), ALL, False),
        (account(client_id=""), policy(*OptIn, mapping=mapping((NAMESPACE, "*", OTHER_CLIENT_ID))), True),
        (None, ALL, False),
        (None, policy(*OptIn, mapping=mapping((NAMESPACE, "*", OTHER_CLIENT_ID))), False),
    ],
)
def test_opting_in_by_account(found: Account | None, rules: Policy, mutated: bool) -> None:  # noqa: FBT001  expected
    """Where the account decides, one with a client id of its own or by mapping takes part."""
    assert isinstance(decided(parsed(labels={}), found, rules, opted_in=None), Injection) is mutated


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({}, {"app", "web", "migrate"}),
        ({names.SKIP_CONTAINERS: "app"}, {"web", "migrate"}),
        ({names.SKIP_CONTAINERS: "app;migrate"}, {"web"}),
        ({names.SKIP_CONTAINERS: "app, migrate"}, {"web"}),
        ({names.SKIP_CONTAINERS: ""}, {"app", "web", "migrate"}),
        ({names.SKIP_CONTAINERS: "nope"}, {"app", "web", "migrate"}),
        ({names.INJECT_CONTAINERS: "app"}, {"app"}),
        ({names.INJECT_CONTAINERS: "app; web"}, {"app", "web"}),
        ({names.INJECT_CONTAINERS: " ; "}, {"app", "web", "migrate"}),
        ({names.INJECT_CONTAINERS: "nope"}, set()),
        ({names.INJECT_CONTAINERS: "app;web", names.SKIP_CONTAINERS: "web"}, {"app"}),
        ({names.SKIP_CONTAINERS: "app;web;migrate"}, set()),
    ],
)
def test_selected_containers(annotations: dict[str, str], expected: set[str]) -> None:
    """The include list narrows all containers, init containers among them, and the skip list takes away."""
    candidate = parsed(container("app"), container("web"), init=(container("migrate"),), annotations=annotations)
    assert selected_containers(candidate, PodAnnotations.parse(candidate, None)) == expected


def test_the_proxy_is_selected_where_it_is_asked_for() -> None:
    """The proxy of a pod that asks for it gets the identity whatever the lists have, and its init container never.

    In other pods a container of the proxy's name is one like any other.
    """
    init = (container(names.PROXY_INIT_CONTAINER), container(names.PROXY_CONTAINER))
    for lists, without in (
        ({}, {names.PROXY_CONTAINER}),
        ({names.SKIP_CONTAINERS: "app;azwi-proxy"}, set()),
        ({names.INJECT_CONTAINERS: "app"}, set()),
        ({names.INJECT_CONTAINERS: "azwi-proxy-init"}, set()),
    ):
        for asked, expected in (({names.INJECT_PROXY: "true"}, {names.PROXY_CONTAINER}), ({}, without)):
            candidate = parsed(init=init, annotations={**lists, **asked})
            selected = selected_containers(candidate, PodAnnotations.parse(candidate, None))
            assert selected & names.PROXY_CONTAINERS == expected


def test_too_many_containers() -> None:
    """The size of a patch is bounded by the number of containers that get the identity."""
    many = [container(f"c{number}") for number in range(MAX_INJECTED_CONTAINERS + 1)]
    with pytest.raises(Refusal, match="more than 3000 containers would get the identity") as refused:
        decided(parsed(*many))
    assert refused.value.reason is Reason.TOO_MANY_CONTAINERS
    assert isinstance(decided(parsed(*many, annotations={names.SKIP_CONTAINERS: "c0"})), Injection)
    assert isinstance(decided(parsed(*many, labels={}), opted_in=False), Skip)


@pytest.mark.parametrize("list_", [{names.SKIP_CONTAINERS: "app"}, {names.INJECT_CONTAINERS: "nope"}])
def test_no_container_left(list_: dict[str, str]) -> None:
    """A pod in which no container is selected gets nothing, not even the volume."""
    decision = decided(parsed(annotations=list_))
    assert isinstance(decision, Skip)
    assert decision.reason is Reason.NO_CONTAINERS


def test_no_container_left_but_the_proxy() -> None:
    """The proxy alone is reason enough to mutate a pod."""
    annotations = {names.SKIP_CONTAINERS: "app", names.INJECT_PROXY: "true"}
    decision = decided(parsed(annotations=annotations))
    assert isinstance(decision, Injection)
    assert decision.containers == set()


@pytest.mark.parametrize("annotation", [names.SKIP_CONTAINERS, names.INJECT_CONTAINERS])
def test_lists_that_name_others(annotation: str) -> None:
    """A list that names a container that the pod does not have is warned of; the proxy's names never are."""
    assert codes(decided(parsed(annotations={annotation: "app web"})).warnings) == ["unknown-container"]
    assert codes(decided(parsed(annotations={annotation: "azwi-proxy;azwi-proxy-init"})).warnings) == []


@pytest.mark.parametrize(
    ("annotation", "rules", "chosen", "expected"),
    [
        ({}, policy(custom_endpoint=endpoint()), False, []),
        ({BINDING: "true"}, policy(custom_endpoint=endpoint()), True, []),
        ({BINDING: "True"}, policy(custom_endpoint=endpoint()), True, []),
        ({BINDING: "false"}, policy(custom_endpoint=endpoint()), False, []),
        ({BINDING: "yes"}, policy(custom_endpoint=endpoint()), False, ["not-a-boolean"]),
        ({BINDING: "true"}, POLICY, False, ["custom-endpoint-off"]),
        ({BINDING + "s": "true"}, policy(custom_endpoint=endpoint()), False, ["custom-endpoint-off"]),
    ],
)
def test_custom_endpoint(
    annotation: dict[str, str],
    rules: Policy,
    chosen: bool,  # noqa: FBT001  the expected value
    expected: list[str],
) -> None:
    """A pod asks for the custom endpoint by its annotation; one that has no effect is warned of."""
    decision = decided(parsed(annotations=annotation), rules=rules)
    assert isinstance(decision, Injection)
    assert decision.endpoint == (rules.custom_endpoint if chosen else None)
    assert codes(decision.warnings) == expected


@pytest.mark.parametrize(
    ("annotation", "code"),
    [
        ("azure.workload.identity/inject_proxy_sidecar", "near-miss"),
        ("azure.workload.identity/Skip-Containers", "near-miss"),
        ("azure-workload-identity/use", "near-miss"),
        (names.CLIENT_ID, "wrong-object"),
        (names.TENANT_ID, "wrong-object"),
        ("azure.workload.identity/client_id", "wrong-object"),
        ("azure.workload.identity/sidecar", "unknown-key"),
    ],
)
def test_strange_annotations_of_a_pod(annotation: str, code: str) -> None:
    """An annotation of the pod that resembles a known one is warned of, with the one that was probably intended."""
    assert codes(decided(parsed(annotations={annotation: "x"})).warnings) == [code]


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("azure-workload-identity/use", ["near-miss"]),
        (names.INJECT_PROXY, ["wrong-object"]),
        ("azure.workload.identity/mine", []),
        ("app.kubernetes.io/name", []),
    ],
)
def test_strange_labels_of_a_pod(label: str, expected: list[str]) -> None:
    """A label of the pod that was intended as the opt-in or as an annotation is warned of."""
    assert codes(decided(parsed(labels={**USE, label: "true"})).warnings) == expected


@pytest.mark.parametrize(
    ("labels", "annotations", "expected"),
    [
        ({names.USE_LABEL: "True"}, {}, ["not-a-boolean"]),
        ({names.USE_LABEL: "yes"}, {}, ["not-a-boolean"]),
        ({names.USE_LABEL: ""}, {}, ["not-a-boolean"]),
        ({}, {names.USE_LABEL: "true"}, ["wrong-object"]),
        ({}, {names.INJECT_PROXY: "true"}, ["label-missing"]),
        ({"azure.workload.identity/Use": "true"}, {}, ["near-miss"]),
        ({}, {BINDING: "true"}, ["label-missing"]),
        ({}, {"prometheus.io/scrape": "true"}, []),
    ],
)
def test_signs_of_a_missed_opt_in(labels: dict[str, str], annotations: dict[str, str], expected: list[str]) -> None:
    """An author who tried to opt in and failed is warned, with what is missing."""
    decision = decided(parsed(labels=labels, annotations=annotations), None, opted_in=False)
    assert isinstance(decision, Skip)
    assert (decision.reason, codes(decision.warnings)) == (Reason.NOT_OPTED_IN, expected)


def test_a_label_on_the_account() -> None:
    """The opt-in label on the ServiceAccount has no effect, and a warning says where it belongs."""
    decision = decided(parsed(labels={}), account(client_id="", labels={names.USE_LABEL: "true"}), ALL, opted_in=None)
    assert isinstance(decision, Skip)
    assert codes(decision.warnings) == ["label-missing"]
    assert "ServiceAccount app has the label" in decision.warnings[0].text
    assert "label the pod" in decision.warnings[0].text


def test_a_label_that_does_not_count() -> None:
    """Where pod labels do not opt in, a labelled pod gets a warning that says what does."""
    decision = decided(parsed(), account(client_id=""), policy(OptIn.SERVICE_ACCOUNT), opted_in=None)
    assert isinstance(decision, Skip)
    assert decision.warnings[0].text == (
        "the pod has the label azure.workload.identity/use, but nothing is injected; to take part, "
        "annotate ServiceAccount app with azure.workload.identity/client-id"
    )


def test_a_misspelt_account() -> None:
    """Where the account decides, its misspelt annotation is warned of although the pod is not mutated."""
    found = account({"azure.workload.identity/client_id": "x"}, client_id="")
    assert codes(decided(parsed(labels={}), found, ALL, opted_in=None).warnings) == ["near-miss"]


@pytest.mark.parametrize(
    ("annotations", "of_settings", "expected"),
    [
        ({}, "", ""),
        ({}, "api://other", "api://other"),
        ({names.SECOND_AUDIENCE: "api://mine"}, "api://other", "api://mine"),
        ({names.SECOND_AUDIENCE: ""}, "api://other", ""),
        ({}, names.DEFAULT_AUDIENCE, ""),
        ({names.SECOND_AUDIENCE: names.DEFAULT_AUDIENCE}, "", ""),
        ({BINDING: "true"}, names.DEFAULT_AUDIENCE, names.DEFAULT_AUDIENCE),
        ({BINDING: "true", names.SECOND_AUDIENCE: "api://AKSIdentityBinding"}, "", ""),
    ],
)
def test_the_second_audience(annotations: dict[str, str], of_settings: str, expected: str) -> None:
    """The audience of the second token is the pod's or the setting's, unless the first token has it."""
    rules = policy(custom_endpoint=endpoint(), second_audience=of_settings)
    decision = decided(parsed(annotations=annotations), rules=rules)
    assert isinstance(decision, Injection)
    assert decision.second_audience == expected
