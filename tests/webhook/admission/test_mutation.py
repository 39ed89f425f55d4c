"""The patch that gives a pod its injection."""

import re
from typing import Any

import pytest

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from testbed.pods import (
    ACCOUNT,
    AUTHORITY_HOST,
    CLIENT_ID,
    POLICY,
    TENANT_ID,
    USE,
    account,
    admitted,
    applied,
    codes,
    container,
    containers,
    endpoint,
    environment,
    mount_paths,
    mounted,
    mutated,
    named,
    pod,
    policy,
    variable,
)
from webhook.admission import fragments
from webhook.admission.identity import Defaults, Identity
from webhook.admission.layout import ONE_VOLUME, TWO_VOLUMES, Layout
from webhook.admission.mutation import MAX_MOUNTS, MAX_VARIABLES
from webhook.admission.policy import Policy, ProxySettings, TrustBundle
from webhook.admission.reasons import Reason
from webhook.admission.review import Decision

DOCUMENTED, V160, FALLBACK = names.DOCUMENTED_DIRECTORY, names.V160_DIRECTORY, names.FALLBACK_DIRECTORY
VARIABLES = {
    "AZURE_CLIENT_ID": CLIENT_ID,
    "AZURE_TENANT_ID": TENANT_ID,
    "AZURE_FEDERATED_TOKEN_FILE": "/var/run/secrets/azure/tokens/azure-identity-token",
    "AZURE_AUTHORITY_HOST": AUTHORITY_HOST,
}
V160_VOLUME, DOCUMENTED_VOLUME = TWO_VOLUMES.volumes
IDENTITY = Identity(CLIENT_ID, TENANT_ID, 3600)
PROXY = {names.INJECT_PROXY: "true"}
ENVIRONMENT = {**PROXY, names.PROXY_MODE: "environment"}
CLASSIC = policy(native=False)
EGRESS = policy(proxy=ProxySettings("proxy.test/proxy:1", https_proxy="http://p:1", ca_configmap="ca"))
BINDING = "azure.workload.identity/use-identity-binding"
SECRET = {"name": "data", "secret": {"secretName": "s"}}
EMPTY = {"name": "data", "emptyDir": {}}


def listed(raw: JsonObject, **settings: Any) -> list[str]:  # noqa: ANN401  as `admitted`
    """Return the operations of an admission as `op path`."""
    return [f"{operation['op']} {operation['path']}" for operation in admitted(raw, **settings).operations]


@pytest.mark.parametrize("absent", [{}, {"env": None, "volumeMounts": None}, {"env": [], "volumeMounts": []}])
def test_a_plain_container(absent: JsonObject) -> None:
    """Variables, mounts and the volume are added whole where there is nothing yet: absent, null or empty."""
    raw = pod(container(**absent), volumes=None)
    assert listed(raw) == [
        "add /spec/containers/0/env",
        "add /spec/containers/0/volumeMounts",
        "add /spec/volumes",
    ]
    app = named(mutated(raw), "app")
    assert list(environment(app).items()) == list(VARIABLES.items())
    assert app["volumeMounts"] == [fragments.mount(token) for token in TWO_VOLUMES.mounts]


def test_the_order_of_what_is_added() -> None:
    """Variables come before the container's own, which may refer to them; mounts and volumes come last."""
    own = container(
        env=[variable("A", "b")],
        volumeMounts=[{"name": "data", "mountPath": "/data"}],
    )
    after = mutated(pod(own, volumes=[EMPTY]))
    assert list(environment(named(after, "app"))) == [*VARIABLES, "A"]
    assert mount_paths(named(after, "app")) == ["/data", V160, DOCUMENTED]
    assert [volume["name"] for volume in after["spec"]["volumes"]] == ["data", names.VOLUME, names.DOCUMENTED_VOLUME]


def test_every_container() -> None:
    """Init containers and native sidecars of the user get the identity like any other."""
    after = mutated(pod(container("a"), container("b"), init=(container("i"), container("s", restartPolicy="Always"))))
    assert [own["name"] for own in containers(after)] == ["i", "s", "a", "b"]
    assert all(environment(own) == VARIABLES for own in containers(after))


def test_skipped_containers_are_untouched() -> None:
    """A skipped container is as it was."""
    after = mutated(
        pod(container("busybox-1"), container("busybox-2"), annotations={names.SKIP_CONTAINERS: "busybox-1;"})
    )
    assert named(after, "busybox-1") == container("busybox-1")
    assert environment(named(after, "busybox-2")) == VARIABLES


def test_the_users_variables_stay() -> None:
    """A variable that the user set stays as it is, with a warning that the identity's is not used."""
    raw = pod(container(env=[variable("AZURE_CLIENT_ID", "mine")]))
    outcome = admitted(raw)
    assert environment(named(applied(raw, outcome), "app")) == {**VARIABLES, "AZURE_CLIENT_ID": "mine"}
    assert codes(outcome) == ["shadowed-variable"]


@pytest.mark.parametrize(
    "own",
    [
        {"name": "AZURE_CLIENT_ID"},
        {"name": "AZURE_CLIENT_ID", "value": ""},
        {"name": "AZURE_CLIENT_ID", "value": None},
        {"name": "AZURE_CLIENT_ID", "valueFrom": {"secretKeyRef": {"name": "s", "key": "id"}}},
        {"name": "AZURE_CLIENT_ID", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "p", "key": "k"}}},
    ],
)
def test_variables_without_a_value(own: JsonObject) -> None:
    """A variable counts as set by the user whether its value is empty, elsewhere, or of a newer kind."""
    raw = pod(container(env=[own]))
    outcome = admitted(raw)
    assert named(applied(raw, outcome), "app")["env"][-1] == own
    assert len(named(applied(raw, outcome), "app")["env"]) == len(VARIABLES)
    assert codes(outcome) == ["shadowed-variable"]


@pytest.mark.parametrize("value", [CLIENT_ID])
def test_the_same_variable(value: str) -> None:
    """A variable with the identity's own value needs no warning."""
    outcome = admitted(pod(container(env=[variable("AZURE_CLIENT_ID", value)])))
    assert codes(outcome) == []


@pytest.mark.parametrize("path", TWO_VOLUMES.token_files)
def test_any_of_our_token_files(path: str) -> None:
    """A token file at any of our paths needs no warning."""
    assert codes(admitted(pod(container(env=[variable("AZURE_FEDERATED_TOKEN_FILE", path)])))) == []


def test_all_variables_set() -> None:
    """A container that sets everything keeps its env to the letter."""
    own = [variable(name, "mine") for name in VARIABLES]
    assert named(mutated(pod(container(env=own))), "app")["env"] == own


def test_shadows_in_the_order_of_the_variables() -> None:
    """Warnings come in the same order every time."""
    outcome = admitted(pod(container(env=[variable(name, "mine") for name in reversed(VARIABLES)])))
    named = [re.findall("AZURE_[A-Z_]+", warning.text)[0] for warning in outcome.warnings]
    assert named == list(VARIABLES)


@pytest.mark.parametrize("name", sorted(names.ENV_OTHER_CREDENTIALS))
def test_other_credentials(name: str) -> None:
    """A variable that DefaultAzureCredential prefers to the identity is warned of, and stays."""
    outcome = admitted(pod(container(env=[variable(name, "s3cret")])))
    assert codes(outcome) == ["other-credential"]
    assert "s3cret" not in outcome.warnings[0].text


def test_no_client_id_no_variable() -> None:
    """Without a client id there is no AZURE_CLIENT_ID, not even an empty one."""
    after = mutated(pod(), account(client_id=""))
    assert list(environment(named(after, "app"))) == list(VARIABLES)[1:]


@pytest.mark.parametrize(
    ("path", "token_file", "paths"),
    [
        (DOCUMENTED, f"{V160}/token/azure-identity-token", [V160]),
        (DOCUMENTED + "/", f"{V160}/token/azure-identity-token", [V160]),
        (DOCUMENTED + "/sub", f"{V160}/token/azure-identity-token", [V160]),
        ("/" + DOCUMENTED, f"{V160}/token/azure-identity-token", [V160]),
        (DOCUMENTED.lstrip("/"), f"{V160}/token/azure-identity-token", [V160]),
        (DOCUMENTED + "/x" * 8000, f"{V160}/token/azure-identity-token", [V160]),
        ("/run/secrets/azure/tokens", f"{V160}/token/azure-identity-token", [V160]),
        ("/var//run/secrets/azure/./tokens", f"{V160}/token/azure-identity-token", [V160]),
        (V160, VARIABLES["AZURE_FEDERATED_TOKEN_FILE"], [DOCUMENTED]),
        (V160 + "/token", VARIABLES["AZURE_FEDERATED_TOKEN_FILE"], [DOCUMENTED]),
        ("/run/secrets/azure/wi", VARIABLES["AZURE_FEDERATED_TOKEN_FILE"], [DOCUMENTED]),
        (DOCUMENTED + "-mine", VARIABLES["AZURE_FEDERATED_TOKEN_FILE"], [V160, DOCUMENTED]),
        ("/var/run/secrets/azure", VARIABLES["AZURE_FEDERATED_TOKEN_FILE"], [V160, DOCUMENTED]),
        ("/var/run", VARIABLES["AZURE_FEDERATED_TOKEN_FILE"], [V160, DOCUMENTED]),
        ("/", VARIABLES["AZURE_FEDERATED_TOKEN_FILE"], [V160, DOCUMENTED]),
    ],
)
def test_the_users_mounts_stay(path: str, token_file: str, paths: list[str]) -> None:
    """A user's mount on or below one of the token paths stays, and the container gets the other path."""
    app = named(mutated(pod(mounted(path), volumes=[EMPTY])), "app")
    assert mount_paths(app) == [path, *paths]
    assert environment(app)["AZURE_FEDERATED_TOKEN_FILE"] == token_file


@pytest.mark.parametrize("path", ["/", "/var", "/var/run", "/run", "/var/run/secrets", "/run/secrets/azure"])
@pytest.mark.parametrize(
    ("mount", "volume"),
    [
        ({"readOnly": True}, EMPTY),
        ({}, SECRET),
        ({}, {"name": "data", "configMap": {"name": "c"}}),
        ({}, {"name": "data", "projected": {"sources": []}}),
        ({}, {"name": "data", "csi": {"driver": "secrets-store.csi.k8s.io", "readOnly": True}}),
    ],
)
def test_read_only_parents(path: str, mount: JsonObject, volume: JsonObject) -> None:
    """Below a read-only mount nothing can be mounted: the container gets the third path, with a warning."""
    raw = pod(mounted(path, **mount), volumes=[volume])
    outcome = admitted(raw)
    app = named(applied(raw, outcome), "app")
    if path == "/":
        assert outcome.reason is Reason.TOKEN_PATHS_TAKEN
        return
    assert mount_paths(app) == [path, FALLBACK]
    assert environment(app)["AZURE_FEDERATED_TOKEN_FILE"] == f"{FALLBACK}/azure-identity-token"
    assert codes(outcome) == ["token-path-taken"]


def test_devices_take_paths_too() -> None:
    """A raw block device on one of the token paths is in the way like a mount."""
    own = container(volumeDevices=[{"name": "disk", "devicePath": DOCUMENTED}])
    raw = pod(own, volumes=[{"name": "disk", "persistentVolumeClaim": {"claimName": "disk"}}])
    app = named(mutated(raw), "app")
    assert app["volumeDevices"] == own["volumeDevices"]
    assert mount_paths(app) == [V160]


def test_our_volume_with_a_slash() -> None:
    """Our own volume mounted with a slash at the end of its path is not mounted there again."""
    between = mutated(pod())
    between["spec"]["containers"][0]["volumeMounts"][0]["mountPath"] += "/"
    assert admitted(between).operations == []


def test_our_volume_in_part() -> None:
    """A part of our volume on a token path is the user's own mount, for the token file is not there."""
    own = container(volumeMounts=[{"name": names.VOLUME, "mountPath": DOCUMENTED, "subPath": "token"}])
    raw = pod(own, volumes=[fragments.volume(V160_VOLUME, Identity("", "", 3600), names.DEFAULT_AUDIENCE, None)])
    assert mount_paths(named(mutated(raw), "app")) == [DOCUMENTED, V160]


def test_both_paths_taken() -> None:
    """A container with mounts of its own on both paths gets the third."""
    own = container(volumeMounts=[{"name": "data", "mountPath": path} for path in (DOCUMENTED, V160)])
    assert mount_paths(named(mutated(pod(own, volumes=[EMPTY])), "app")) == [DOCUMENTED, V160, FALLBACK]


def test_all_paths_taken() -> None:
    """A container that leaves no path for the token is refused by name, with what can be done."""
    own = container(volumeMounts=[{"name": "data", "mountPath": path} for path in (DOCUMENTED, V160, FALLBACK)])
    outcome = admitted(pod(own, volumes=[EMPTY]))
    assert outcome.reason is Reason.TOKEN_PATHS_TAKEN
    assert "container 'app' has mounts of its own" in outcome.message
    assert names.SKIP_CONTAINERS in outcome.message


def test_a_skipped_container_may_take_all_paths() -> None:
    """The mounts of a container that gets no identity do not matter."""
    own = container("web", volumeMounts=[{"name": "data", "mountPath": path} for path in (DOCUMENTED, V160, FALLBACK)])
    assert mutated(pod(container(), own, volumes=[EMPTY], annotations={names.SKIP_CONTAINERS: "web"}))


@pytest.mark.parametrize("annotations", [{}, PROXY, ENVIRONMENT])
@pytest.mark.parametrize("rules", [POLICY, CLASSIC, EGRESS])
@pytest.mark.parametrize("path", ["/data", DOCUMENTED, V160, "/var/run"])
def test_twice_is_once(annotations: dict[str, str], rules: Any, path: str) -> None:  # noqa: ANN401  a Policy
    """Applied to its own result, the mutation changes nothing, whatever the user's mounts."""
    raw = pod(mounted(path), volumes=[SECRET], annotations=annotations)
    outcome = admitted(mutated(raw, rules=rules), rules=rules)
    assert (outcome.reason, outcome.operations) == (Reason.ALREADY_INJECTED, [])


def test_a_name_given_between_two_passes() -> None:
    """A pod that gets its name between two passes keeps the one volume."""
    raw = pod()
    raw["metadata"] = {"generateName": "app-", "labels": dict(USE)}
    between = mutated(raw)
    between["metadata"]["name"] = "app-x7k2p"
    assert admitted(between).operations == []


def test_a_container_added_between_two_passes() -> None:
    """A container that another webhook adds is mutated on reinvocation, and nothing else is."""
    between = mutated(pod())
    between["spec"]["containers"].append(container("late"))
    assert listed(between) == ["add /spec/containers/1/env", "add /spec/containers/1/volumeMounts"]


@pytest.mark.parametrize("layout", [TWO_VOLUMES, ONE_VOLUME])
def test_a_volume_of_other_settings(layout: Layout) -> None:
    """A volume that was injected under other settings is updated in place."""
    old = [fragments.volume(volume, Identity("", "", 3600), "api://old", None) for volume in layout.volumes]
    raw = pod(volumes=[EMPTY, *old])
    assert "replace /spec/volumes/1" in listed(raw)
    after = mutated(raw, rules=policy(audience="api://new", identity=Defaults(TENANT_ID, 7200)))
    assert after["spec"]["volumes"][1:] == [
        fragments.volume(volume, Identity("", "", 7200), "api://new", None) for volume in layout.volumes
    ]


@pytest.mark.parametrize(("annotations", "present"), [({}, False), (PROXY, True), (ENVIRONMENT, True)])
def test_egress_is_the_proxys(annotations: JsonObject, *, present: bool) -> None:
    """The egress settings reach only the sidecar, and only in pods that ask for the proxy."""
    after = mutated(pod(annotations=annotations), rules=EGRESS)
    as_v160, documented = after["spec"]["volumes"]
    assert len(as_v160["projected"]["sources"]) == 1
    assert any("configMap" in source for source in documented["projected"]["sources"]) is present
    with_proxy = {own["name"] for own in containers(after) if "HTTPS_PROXY" in environment(own)}
    assert with_proxy == ({names.PROXY_CONTAINER} if present else set())


def test_another_ca_configmap() -> None:
    """A pod that was injected with another ConfigMap's name gets the present one."""
    old = mutated(pod(annotations=PROXY), rules=EGRESS)
    old["spec"]["volumes"][1]["projected"]["sources"][1]["configMap"]["name"] = "old"
    assert admitted(old, rules=EGRESS).operations == [
        {
            "op": "replace",
            "path": "/spec/volumes/1",
            "value": fragments.volume(DOCUMENTED_VOLUME, IDENTITY, POLICY.audience, None, "ca"),
        }
    ]


def test_a_source_added_between_two_passes() -> None:
    """A source that another webhook adds to the injected volume stays."""
    between = mutated(pod())
    between["spec"]["volumes"][0]["projected"]["sources"].append({"downwardAPI": {"items": []}})
    assert admitted(between).operations == []


@pytest.mark.parametrize(
    "settings",
    [{"ca_data": "PEM"}, {"ca_configmap": "ca"}, {"ca_bundle": TrustBundle("example.com/signer", {"matchLabels": {}})}],
)
def test_an_endpoint_of_other_settings(settings: dict[str, Any]) -> None:
    """An injected volume with the CA of a custom token endpoint is recognised after the endpoint's settings changed."""
    before = mutated(pod(annotations={BINDING: "true"}), rules=policy(custom_endpoint=endpoint(**settings)))
    assert "replace /spec/volumes/0" in listed(before)


OUR_TOKEN = {"serviceAccountToken": {"path": names.TOKEN_FILE, "audience": "mine"}}


@pytest.mark.parametrize(
    "source",
    [
        {"emptyDir": {}},
        {"secret": {"secretName": "s"}},
        {"projected": {"sources": []}},
        {"projected": {"sources": [OUR_TOKEN, {"secret": {"name": "s"}}]}},
        {"projected": {"sources": [OUR_TOKEN, {"configMap": {"name": "mine"}}]}},
        {"projected": {"sources": [OUR_TOKEN, {"clusterTrustBundle": {"path": "mine.crt"}}]}},
        {"projected": {"sources": [OUR_TOKEN, {"serviceAccountToken": None}]}},
        {"projected": {"sources": [OUR_TOKEN, "x"]}},
    ],
)
@pytest.mark.parametrize("name", sorted(names.VOLUMES))
def test_a_volume_of_our_name(name: str, source: JsonObject) -> None:
    """A volume of one of our names that is the user's is refused, never replaced."""
    outcome = admitted(pod(volumes=[{"name": name, **source}]))
    assert outcome.reason is Reason.VOLUME_NAME_TAKEN
    assert name in outcome.message


def test_unknown_fields_survive() -> None:
    """Fields that are newer than this webhook stay, at every level."""
    own = container(restartPolicyRules=[{"action": "Restart"}], newer={"a": 1})
    raw = pod(own, resources={"requests": {"cpu": "1"}}, hostnameOverride="h", volumes=[{**EMPTY, "newer": 1}])
    raw["newer"] = True
    after = mutated(raw)
    assert {operation["op"] for operation in admitted(raw).operations} == {"add"}
    assert (after["newer"], after["spec"]["resources"], after["spec"]["hostnameOverride"]) == (
        True,
        {"requests": {"cpu": "1"}},
        "h",
    )
    assert {**named(after, "app"), **own} == named(after, "app")
    assert after["spec"]["volumes"][0]["newer"] == 1


def test_an_object_namespace_is_not_rewritten() -> None:
    """The namespace that the object names stays as it is."""
    raw = pod()
    raw["metadata"]["namespace"] = "elsewhere"
    assert mutated(raw)["metadata"] == raw["metadata"]


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"env": {}}, "spec.containers.0.env must be a list"),
        ({"env": ["A=b"]}, "spec.containers.0.env must be a list of maps"),
        ({"volumeMounts": "data"}, "spec.containers.0.volumeMounts must be a list"),
    ],
)
def test_malformed_containers(own: JsonObject, message: str) -> None:
    """A container whose lists are not lists is refused with the field's path."""
    outcome = admitted(pod(container(**own)))
    assert (outcome.reason, outcome.message[: len(message)]) == (Reason.MALFORMED_POD, message)


def test_entries_without_name_or_path() -> None:
    """Variables without a name and mounts without a path are ignored: the API server refuses them itself."""
    own = container(
        env=[{"value": "x"}, {"name": 7}], volumeMounts=[{"name": "data"}, {"name": "data", "mountPath": 7}]
    )
    assert set(environment(named(mutated(pod(own, volumes=[SECRET])), "app"))) >= set(VARIABLES)


@pytest.mark.parametrize(
    "mount",
    [
        {"name": names.VOLUME, "mountPath": []},
        {"name": names.VOLUME, "mountPath": {"a": 1}},
        {"name": [], "mountPath": "/var"},
        {"name": {}, "mountPath": "/var"},
    ],
)
def test_mounts_of_a_wrong_type(mount: JsonObject) -> None:
    """A mount whose name or path is a list or a map is no internal error: the API server refuses it itself."""
    assert admitted(pod(container(volumeMounts=[mount]))).decision in Decision


@pytest.mark.parametrize("value", [[], {}, 7])
def test_values_of_a_wrong_type(value: object) -> None:
    """A variable whose value is no string is left to the API server."""
    assert admitted(pod(container(env=[{"name": "AZURE_FEDERATED_TOKEN_FILE", "value": value}]))).decision in Decision


def test_the_native_proxy() -> None:
    """The redirect rules come first, then the sidecar, then the user's init containers."""
    after = mutated(pod(init=(container("migrate"),), annotations=PROXY))
    assert [own["name"] for own in containers(after)] == ["azwi-proxy-init", "azwi-proxy", "migrate", "app"]
    assert named(after, "azwi-proxy")["restartPolicy"] == "Always"
    assert environment(named(after, "azwi-proxy")) == VARIABLES
    assert environment(named(after, "azwi-proxy-init")).keys() == {"PROXY_PORT", "XTABLES_LOCKFILE"}
    assert mount_paths(named(after, "azwi-proxy-init")) == []


def test_the_classic_proxy() -> None:
    """Without native sidecars the proxy is the first ordinary container, the redirect rules still come first."""
    after = mutated(pod(init=(container("migrate"),), annotations=PROXY), rules=CLASSIC)
    assert [own["name"] for own in after["spec"]["initContainers"]] == ["azwi-proxy-init", "migrate"]
    assert [own["name"] for own in after["spec"]["containers"]] == ["azwi-proxy", "app"]


def test_the_proxy_without_redirect() -> None:
    """In environment mode there is no init container with capabilities; a variable points the app at the proxy."""
    after = mutated(pod(annotations={**ENVIRONMENT, names.PROXY_PORT: "8080"}))
    assert [own["name"] for own in containers(after)] == ["azwi-proxy", "app"]
    expected = {**VARIABLES, "AZURE_POD_IDENTITY_AUTHORITY_HOST": "http://127.0.0.1:8080"}
    assert environment(named(after, "app")) == expected
    assert environment(named(after, "azwi-proxy")) == VARIABLES


@pytest.mark.parametrize("rules", [POLICY, CLASSIC])
def test_a_proxy_of_the_user(rules: Any) -> None:  # noqa: ANN401  a Policy
    """Containers of the proxy's names, as `azwi podidentity detect` writes them, are kept and not doubled."""
    own = container("azwi-proxy")
    after = mutated(pod(container(), own, init=(container("azwi-proxy-init"),), annotations=PROXY), rules=rules)
    assert [own["name"] for own in containers(after)] == ["azwi-proxy-init", "app", "azwi-proxy"]
    assert environment(named(after, "azwi-proxy")) == VARIABLES
    assert named(after, "azwi-proxy-init") == container("azwi-proxy-init")


def test_the_proxy_of_a_skipping_pod() -> None:
    """The injected proxy has its identity even where the lists skip it and every other container."""
    after = mutated(pod(annotations={**PROXY, names.SKIP_CONTAINERS: "app;azwi-proxy"}))
    assert named(after, "app") == container()
    assert environment(named(after, "azwi-proxy")) == VARIABLES
    assert mount_paths(named(after, "azwi-proxy")) == [V160, DOCUMENTED]


def test_a_reinvocation_warns_no_more() -> None:
    """On reinvocation the proxy's own init container is not taken for one of the user's."""
    raw = pod(annotations=PROXY)
    assert codes(admitted(raw, rules=CLASSIC)) == []
    assert codes(admitted(mutated(raw, rules=CLASSIC), rules=CLASSIC)) == []


def test_the_custom_endpoint_everywhere() -> None:
    """With a custom endpoint the app and the proxy get its variables, and the volume its audience."""
    annotations = {**PROXY, names.CUSTOM_ENDPOINT_PREFIX + "identity-binding": "true"}
    after = mutated(pod(annotations=annotations), rules=policy(custom_endpoint=endpoint(ca_configmap="ca")))
    for name in ("app", "azwi-proxy"):
        variables = environment(named(after, name))
        assert variables[names.ENV_TOKEN_PROXY] == "https://bindings.test"
        assert variables[names.ENV_TOKEN_PROXY_CA_FILE] == f"{DOCUMENTED}/ca-cert/ca.crt"
    assert [len(volume["projected"]["sources"]) for volume in after["spec"]["volumes"]] == [2, 2]


def test_the_endpoints_ca_moves_with_the_token() -> None:
    """The CA file's variable names the directory where the container has the volume."""
    annotations = {names.CUSTOM_ENDPOINT_PREFIX + "identity-binding": "true"}
    raw = pod(mounted(DOCUMENTED), volumes=[EMPTY], annotations=annotations)
    after = mutated(raw, ACCOUNT, policy(custom_endpoint=endpoint(ca_configmap="ca")))
    assert environment(named(after, "app"))["AZURE_KUBERNETES_CA_FILE"] == f"{V160}/ca-cert/ca.crt"


def test_the_same_patch_every_time() -> None:
    """The same pod gets the same operations in the same order."""
    raw = pod(container("a"), container("b"), init=(container("i"),), annotations=PROXY)
    assert admitted(raw).operations == admitted(raw).operations


@pytest.mark.parametrize("variable_name", ["AZURE_KUBERNETES_CA_FILE", "AZURE_KUBERNETES_CA_DATA"])
@pytest.mark.parametrize("settings", [{"ca_data": "PEM"}, {"ca_configmap": "ca"}])
def test_one_ca(variable_name: str, settings: dict[str, str]) -> None:
    """Where the user sets a CA, as file or data, none is injected: SDKs refuse two."""
    own = container(env=[variable(variable_name, "mine")])
    rules = policy(custom_endpoint=endpoint(**settings))
    given = environment(named(mutated(pod(own, annotations={BINDING: "true"}), rules=rules), "app"))
    assert {name: value for name, value in given.items() if "_CA_" in name} == {variable_name: "mine"}


MANY_MOUNTS = [{"name": "data", "mountPath": f"/d/{number}"} for number in range(MAX_MOUNTS)]
MANY_VARIABLES = [{"name": f"V{number}"} for number in range(MAX_VARIABLES)]


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ({"volumeMounts": MANY_MOUNTS}, {"volumeMounts": MANY_MOUNTS[:1]}, Reason.TOO_MANY_MOUNTS),
        ({"volumeMounts": MANY_MOUNTS}, {"volumeDevices": [{"devicePath": "/d"}]}, Reason.TOO_MANY_MOUNTS),
        ({"env": MANY_VARIABLES}, {"env": MANY_VARIABLES[:1]}, Reason.TOO_MANY_VARIABLES),
    ],
)
def test_lists_are_bounded(first: JsonObject, second: JsonObject, reason: Reason) -> None:
    """A pod whose containers have more mounts or variables in all than any node could give them is refused."""
    outcome = admitted(pod(container("a", **first), container("b", **second)))
    assert outcome.reason is reason
    assert admitted(pod(container("a", **first), container("b"))).decision is Decision.MUTATE


def test_a_doubled_variable() -> None:
    """Of a variable that is set twice the last one counts, as in Kubernetes, and a warning says so if they differ."""
    other, same = variable("AZURE_CLIENT_ID", "other"), variable("AZURE_CLIENT_ID", CLIENT_ID)
    assert codes(admitted(pod(container(env=[other, same])))) == ["doubled-variable"]
    assert codes(admitted(pod(container(env=[same, other])))) == ["doubled-variable", "shadowed-variable"]
    assert codes(admitted(pod(container(env=[same, same])))) == []
    assert codes(admitted(pod(container(env=[variable("OWN", "1"), variable("OWN", "2")])))) == []


@pytest.mark.parametrize("value", ["dev", "DEV", "AzureCliCredential", "ManagedIdentityCredential", "unknown"])
def test_token_credentials(value: str) -> None:
    """A variable with which DefaultAzureCredential does not use the identity is warned of, and stays."""
    raw = pod(container(env=[variable("AZURE_TOKEN_CREDENTIALS", value)]))
    outcome = admitted(raw)
    assert codes(outcome) == ["token-credentials"]
    assert environment(named(applied(raw, outcome), "app"))["AZURE_TOKEN_CREDENTIALS"] == value


@pytest.mark.parametrize("value", ["", "prod", "Prod", " WorkloadIdentityCredential", "workloadidentitycredential", 7])
def test_token_credentials_with_the_identity(value: Any) -> None:  # noqa: ANN401  JSON
    """A variable with which DefaultAzureCredential uses the identity needs no warning."""
    assert codes(admitted(pod(container(env=[variable("AZURE_TOKEN_CREDENTIALS", value)])))) == []


def test_token_credentials_with_the_proxy() -> None:
    """With the proxy ManagedIdentityCredential gets a token of the identity."""
    own = container(env=[variable("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")])
    assert codes(admitted(pod(own, annotations=PROXY))) == []


@pytest.mark.parametrize(
    ("rules", "annotations", "expected"),
    [
        (CLASSIC, {}, "app"),
        (CLASSIC, {names.DEFAULT_CONTAINER: "web"}, "web"),
        (POLICY, {}, None),
    ],
)
def test_the_default_container(rules: Policy, annotations: dict[str, str], expected: str | None) -> None:
    """Where the proxy becomes the first container, kubectl's default stays the first of the pod's own."""
    after = mutated(pod(container("app"), container("web"), annotations={**PROXY, **annotations}), rules=rules)
    assert after["metadata"]["annotations"].get(names.DEFAULT_CONTAINER) == expected


SECOND = {names.SECOND_AUDIENCE: "api://second"}
FILES = "/var/run/secrets/azure/tokens/second-identity-token", "/azure-workload-identity/second-identity-token"


@pytest.mark.parametrize(
    ("path", "file", "first"),
    [
        ("/data", FILES[0], VARIABLES["AZURE_FEDERATED_TOKEN_FILE"]),
        (V160, FILES[0], VARIABLES["AZURE_FEDERATED_TOKEN_FILE"]),
        (DOCUMENTED, FILES[1], f"{V160}/token/azure-identity-token"),
    ],
)
def test_a_second_token(path: str, file: str, first: str) -> None:
    """A second token is in the second volume, wherever a container has room for it, and never in v1.6.0's."""
    raw = pod(mounted(path), volumes=[EMPTY], annotations={**SECOND, **PROXY})
    after = mutated(raw)
    given = environment(named(after, "app"))
    assert (given["AZURE_SECOND_FEDERATED_TOKEN_FILE"], given["AZURE_FEDERATED_TOKEN_FILE"]) == (file, first)
    assert environment(named(after, "azwi-proxy"))["AZURE_SECOND_FEDERATED_TOKEN_FILE"] == FILES[0]
    _, as_v160, documented = after["spec"]["volumes"]
    assert len(as_v160["projected"]["sources"]) == 1
    assert documented["projected"]["sources"][1]["serviceAccountToken"] == {
        "audience": "api://second",
        "expirationSeconds": 3600,
        "path": "second-identity-token",
    }
    assert admitted(after).operations == []


def test_no_room_for_the_second_token() -> None:
    """A container that has room for the first token only is refused where it should have two."""
    own = container(volumeMounts=[{"name": "data", "mountPath": path} for path in (DOCUMENTED, FALLBACK)])
    assert admitted(pod(own, volumes=[EMPTY])).decision is Decision.MUTATE
    assert admitted(pod(own, volumes=[EMPTY], annotations=SECOND)).reason is Reason.TOKEN_PATHS_TAKEN


def test_the_second_token_in_the_former_layout() -> None:
    """A pod of the former layout gets the second token in its one volume."""
    volume = fragments.volume(ONE_VOLUME.volumes[0], IDENTITY, POLICY.audience, None)
    mounts = [fragments.mount(token) for token in ONE_VOLUME.mounts]
    after = mutated(pod(container(volumeMounts=mounts), volumes=[volume], annotations=SECOND))
    assert environment(named(after, "app"))["AZURE_SECOND_FEDERATED_TOKEN_FILE"] == FILES[0]
    assert [len(volume["projected"]["sources"]) for volume in after["spec"]["volumes"]] == [3]
    assert admitted(after).operations == []
