"""Properties of every admission: tested by hypothesis, with jsonpatch as the oracle."""

from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from testbed.pods import (
    NAMESPACE,
    OTHER_CLIENT_ID,
    account,
    admitted,
    applied,
    containers,
    endpoint,
    environment,
    mapping,
    policy,
)
from webhook.admission import fragments, values
from webhook.admission.identity import Account
from webhook.admission.layout import TWO_VOLUMES
from webhook.admission.policy import OptIn, Policy
from webhook.admission.review import AdmissionOutcome, Decision

# The same examples every time; raise the number, and turn `derandomize` off, to look for new ones.
bounded = settings(
    max_examples=75,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

PATHS: Final = (
    *(
        prefix + directory
        for prefix in ("", "/run/..")
        for directory in (names.DOCUMENTED_DIRECTORY, names.V160_DIRECTORY)
    ),
    names.DOCUMENTED_DIRECTORY + "/",
    names.V160_DIRECTORY + "/token",
    names.FALLBACK_DIRECTORY,
    "/run/secrets/azure/tokens",
    "/var/run/secrets/azure",
    "/var/run",
    "/run",
    "/data",
    "/",
)
SOURCES: Final[tuple[JsonObject, ...]] = (
    {"emptyDir": {}},
    {"secret": {"secretName": "s"}},
    {"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
    {"csi": {"driver": "d", "readOnly": True}},
)
VARIABLES: Final = (
    names.ENV_CLIENT_ID,
    names.ENV_TENANT_ID,
    names.ENV_TOKEN_FILE,
    names.ENV_TOKEN_PROXY,
    names.ENV_POD_IDENTITY_HOST,
    "AZURE_CLIENT_SECRET",
    "HOME",
)
NAMES: Final = ("app", "web", "job", names.PROXY_CONTAINER, names.PROXY_INIT_CONTAINER, "x" * 63)
VOLUMES: Final = ("data", "config", "v-1")
ANNOTATIONS: Final = (
    (names.INJECT_PROXY, "true"),
    (names.INJECT_PROXY, "true"),
    (names.INJECT_PROXY, "maybe"),
    (names.PROXY_MODE, "environment"),
    (names.PROXY_PORT, "8080"),
    (names.PROXY_CPU_REQUEST, "2"),
    (names.SKIP_CONTAINERS, "web;azwi-proxy"),
    (names.SKIP_CONTAINERS, "app,web,job"),
    (names.INJECT_CONTAINERS, "app"),
    (names.TOKEN_EXPIRATION, "7200"),
    (names.SECOND_AUDIENCE, "api://second"),
    (names.CUSTOM_ENDPOINT_PREFIX + "identity-binding", "true"),
    ("azure.workload.identity/client_id", "x"),
)
POLICIES: Final = tuple(
    policy(*opt_in, native=native, custom_endpoint=custom, mapping=mapping((NAMESPACE, "m*", OTHER_CLIENT_ID)))
    for opt_in in ((OptIn.POD_LABEL,), tuple(OptIn))
    for native in (True, False)
    for custom in (None, endpoint(ca_configmap="ca"), endpoint(ca_data="PEM"))
)
FOUND: Final = (
    account(),
    account(client_id=""),
    account({"azure.workload.identity/ClientId": "x"}, expiration="4800"),
)

odd_text = st.one_of(
    st.text(max_size=6), st.sampled_from(["\x00", "\ud7ff", "~1/0", "a\nb", "x" * 5000, "\u202e", "-", "$(A)"])
)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), odd_text),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(odd_text, inner, max_size=3)),
    max_leaves=3,
)
unknown_fields = st.dictionaries(st.sampled_from(["newer", "x-field", "restartPolicyRules"]), json_values, max_size=1)


@st.composite
def described(draw: st.DrawFn, known: st.SearchStrategy[JsonObject]) -> JsonObject:
    """Draw an object with, at times, fields that this webhook does not know."""
    return {**draw(unknown_fields), **draw(known)}


def objects(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[JsonObject]:
    """Draw objects with these fields, or some of them where their names end in `_`, and unknown ones."""
    required = {name: field for name, field in fields.items() if not name.endswith("_")}
    optional = {name.removesuffix("_"): field for name, field in fields.items() if name.endswith("_")}
    return described(st.fixed_dictionaries(required, optional=optional))


def distinct(
    entries: st.SearchStrategy[JsonObject], key: str, most: int, least: int = 0
) -> st.SearchStrategy[list[JsonObject]]:
    """Draw lists of objects that differ in `key`, as the API server wants them."""
    return st.lists(entries, min_size=least, max_size=most, unique_by=lambda entry: entry[key])


def drawn_containers(entries: tuple[str, ...]) -> st.SearchStrategy[list[JsonObject]]:
    """Draw containers of these names."""
    values_ = st.one_of(odd_text, st.sampled_from(["", *TWO_VOLUMES.token_files]))
    variables = objects(name=st.sampled_from(VARIABLES), value_=values_)
    mounts = objects(
        name=st.sampled_from(VOLUMES), mountPath=st.sampled_from(PATHS), readOnly_=st.booleans(), subPath_=odd_text
    )
    return distinct(
        objects(
            name=st.sampled_from(entries),
            env=st.one_of(distinct(variables, "name", 4, 1), st.none()),
            volumeMounts=st.one_of(distinct(mounts, "mountPath", 4, 1), st.none()),
        ),
        "name",
        3,
        1,
    )


pods = objects(
    metadata=objects(
        name_=st.just("app"),
        generateName_=st.just("app-"),
        labels=st.just({names.USE_LABEL: "true"}),
        annotations=st.lists(st.sampled_from(ANNOTATIONS), min_size=1, max_size=6).map(dict),
    ),
    spec=objects(
        serviceAccountName_=st.sampled_from(["", "app", "mapped"]),
        nodeSelector_=st.just({"kubernetes.io/os": "linux"}),
        containers=drawn_containers(NAMES[:4]),
        initContainers=st.one_of(drawn_containers(NAMES[4:]), st.none()),
        volumes=st.one_of(
            distinct(
                st.builds(
                    lambda name, source: {"name": name, **source}, st.sampled_from(VOLUMES), st.sampled_from(SOURCES)
                ),
                "name",
                3,
                2,
            ),
            st.none(),
        ),
    ),
)


def places(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of everything inside."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        yield (*path, key)
        yield from places(inner, (*path, key))


@st.composite
def hostile_pods(draw: st.DrawFn) -> object:
    """Draw a pod in which any value may be replaced by any other, or occur twice."""
    raw: Any = deepcopy(draw(pods))
    raw["spec"].setdefault("volumes", [{"name": names.VOLUME, "projected": {"sources": []}}])
    for _ in range(draw(st.integers(1, 4))):
        *parents, last = draw(st.sampled_from(sorted(places(raw), key=repr)))
        within = raw
        for key in parents:
            within = within[key]
        within[last] = draw(st.one_of(json_values, st.sampled_from([names.VOLUME, [], {}, None, 7, within[last]])))
        if isinstance(within, list) and draw(st.booleans()):
            within.append(within[last])
    return raw


policies = st.sampled_from(POLICIES)
accounts = st.sampled_from(FOUND)


def contained(before: object, after: object) -> bool:
    """Whether everything of `before` is in `after`: keys with their values, entries in their order."""
    if before is None:
        return after is None or isinstance(after, list)
    if isinstance(before, dict):
        return isinstance(after, dict) and all(key in after and contained(before[key], after[key]) for key in before)
    if isinstance(before, list) and isinstance(after, list):
        rest = iter(after)
        return all(any(contained(entry, candidate) for candidate in rest) for entry in before)
    return type(before) is type(after) and before == after


def doubled(of: JsonObject) -> Iterator[tuple[str, str]]:
    """Yield the names and paths that occur more than once and may not."""
    every = list(containers(of))
    seen = Counter(("container", own["name"]) for own in every)
    seen += Counter(("volume", volume["name"]) for volume in of["spec"].get("volumes") or [])
    for own in every:
        seen += Counter((f"variable of {own['name']}", name) for name in environment(own))
        seen += Counter((f"path of {own['name']}", mount["mountPath"]) for mount in own.get("volumeMounts") or [])
    return (key for key, count in seen.items() if count > 1)


@bounded
@given(raw=st.one_of(hostile_pods(), json_values), found=accounts, rules=policies, labelled=st.booleans())
def test_always_an_outcome(raw: object, found: Account | None, rules: Policy, labelled: bool) -> None:  # noqa: FBT001  drawn
    """Any object has an outcome: no exception, and the input is unchanged."""
    before = deepcopy(raw)
    outcome = admitted(raw, found, rules, namespace_labelled=labelled)
    assert outcome.decision in Decision
    assert all(str(warning).isascii() and str(warning).isprintable() for warning in outcome.warnings)
    assert outcome.message.isascii()
    assert outcome.message.isprintable()
    assert repr(raw) == repr(before)


@bounded
@given(raw=hostile_pods(), found=accounts, rules=policies)
def test_hostile_pods_settle(raw: JsonObject, found: Account | None, rules: Policy) -> None:
    """A patch of even the oddest pod applies, and the result needs no second one."""
    outcome = admitted(raw, found, rules)
    assert not admitted(applied(raw, outcome), found, rules).operations


@bounded
@given(raw=pods, found=accounts, rules=policies)
def test_twice_is_once(raw: JsonObject, found: Account | None, rules: Policy) -> None:
    """A second pass over the result changes nothing and has no new warning."""
    first = admitted(raw, found, rules)
    again = admitted(applied(raw, first), found, rules)
    assert not again.operations
    assert again.decision == first.decision
    assert set(again.warnings) <= set(first.warnings)


@bounded
@given(raw=pods, found=accounts, rules=policies)
def test_nothing_is_removed(raw: JsonObject, found: Account | None, rules: Policy) -> None:
    """Only `add` and `replace` happen, and everything of the input is in the output, unchanged and in order."""
    outcome = admitted(raw, found, rules)
    assert {operation["op"] for operation in outcome.operations} <= {"add", "replace"}
    assert contained(raw, applied(raw, outcome))


@bounded
@given(raw=pods, found=accounts, rules=policies)
def test_nothing_is_doubled(raw: JsonObject, found: Account | None, rules: Policy) -> None:
    """No container, volume, variable or mount path is there twice that was not so before."""
    assert set(doubled(applied(raw, admitted(raw, found, rules)))) <= set(doubled(raw))


@bounded
@given(raw=pods, found=accounts, rules=policies)
def test_the_token_is_where_it_is_said_to_be(raw: JsonObject, found: Account | None, rules: Policy) -> None:
    """A container whose variable names a token file has the token volume mounted, read-only, at its directory."""
    outcome = admitted(raw, found, rules)
    after = applied(raw, outcome)
    given_before = {own["name"] for own in containers(raw) if names.ENV_TOKEN_FILE in environment(own)}
    for own in containers(after):
        variable = environment(own).get(names.ENV_TOKEN_FILE)
        if variable is None or own["name"] in given_before:
            continue
        mounts = [mount for mount in own["volumeMounts"] if mount["name"] in names.VOLUMES]
        files = {token.token_file: token for token in (*TWO_VOLUMES.mounts, TWO_VOLUMES.fallback)}
        assert fragments.mount(files[variable]) in mounts
        assert all(mount["readOnly"] for mount in mounts)
        assert {mount["name"] for mount in mounts} <= {volume["name"] for volume in after["spec"]["volumes"]}


@bounded
@given(raw=pods, found=accounts, rules=policies)
def test_no_operations_without_a_mutation(raw: JsonObject, found: Account | None, rules: Policy) -> None:
    """Only a mutation has operations, only a refusal a message, and both have a reason."""
    outcome: AdmissionOutcome = admitted(raw, found, rules)
    assert bool(outcome.message) == (outcome.decision is Decision.REFUSE)
    assert not outcome.operations or outcome.decision is Decision.MUTATE
    assert outcome.reason


@bounded
@given(odd_text)
def test_values_never_raise(text: str) -> None:
    """Any text is read as a value or as none."""
    for read in (values.integer, values.boolean, values.names, values.quantity, values.is_uuid, values.is_tenant):
        read(text)
