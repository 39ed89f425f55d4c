"""The reason of each decision, and the warnings to the author of a pod."""

from typing import Final, NamedTuple

from azwi_cli.console import manual
from azwi_cli.explanations.explanation import Explanation, Source

PAGE: Final = "reference/decisions.md"


class Row(NamedTuple):
    """A code with what it means; `note` is the decision of a reason."""

    note: str
    code: str
    meaning: str
    causes: tuple[str, ...] = ()
    fix: tuple[str, ...] = ()


_RESERVED: Final = "a template was copied from an injected pod (`kubectl get pod -o yaml`)"
_TOO_LARGE: Final = "a generator or a client in a loop writes the pod"

REASONS: Final = (
    Row("mutate", "injected", "the identity was added"),
    Row("mutate", "already-injected", "the pod already had everything"),
    Row(
        "skip",
        "not-opted-in",
        "the pod is not opted in",
        (
            "the label is on the Deployment's own metadata in place of its pod template's",
            "the label is an annotation, or its value is not `true`",
            "the namespace or the ServiceAccount opts in, and the server's `--opt-in` does not count that",
        ),
        ('label the pod template `azure.workload.identity/use: "true"`, or choose another `--opt-in`',),
    ),
    Row(
        "skip",
        "opted-out",
        'the pod is labelled `use: "false"`',
        ("somebody left this pod out of a namespace or an account that is opted in",),
        ("remove the label from the pod template, if it should take part",),
    ),
    Row(
        "skip",
        "mirror-pod",
        "the pod mirrors a static pod, which runs on its node unchanged",
        ("the pod is written as a file on its node, as those of a control plane are",),
        ("give the identity to a pod of the API server, such as a DaemonSet's",),
    ),
    Row(
        "skip",
        "no-containers",
        "the lists select no container",
        ("`skip-containers` names all of them", "`inject-containers` names none that the pod has"),
        ("check `skip-containers` and `inject-containers`",),
    ),
    Row("skip", "not-create", "only creations are mutated"),
    Row(
        "skip",
        "not-a-pod",
        "the review is not of a pod",
        ("the rules of the webhook configuration were changed by hand",),
        ("check the rules of the webhook configuration",),
    ),
    Row(
        "refuse",
        "service-account-not-found",
        "the pod's ServiceAccount does not exist",
        (
            "the manifests apply the workload before the ServiceAccount",
            "the name is misspelt, or of another namespace",
        ),
        ("create it first: `kubectl create serviceaccount NAME`",),
    ),
    Row(
        "refuse",
        "invalid-client-id",
        "the annotation cannot be a client id at all",
        ("a template's variable was not replaced", "a whole resource id or a line break is in it"),
        ("give the UUID: `az identity show --query clientId`",),
    ),
    Row(
        "refuse",
        "invalid-tenant-id",
        "the annotation cannot be a tenant id at all",
        ("a template's variable was not replaced", "a URL is in it"),
        ("give the UUID or a domain: `az account show --query tenantId`",),
    ),
    Row(
        "refuse",
        "invalid-token-expiration",
        "not a whole number from 3600 to 86400",
        ("a duration such as `1h` in place of seconds", "less than an hour, which the annotation does not take"),
        ("correct it, on the pod or the ServiceAccount",),
    ),
    Row(
        "refuse",
        "invalid-second-token-audience",
        "the annotation cannot be an audience",
        ("a blank or a line break in it", "it is longer than an audience may be"),
        ("correct `second-token-audience`",),
    ),
    Row(
        "refuse",
        "invalid-proxy-port",
        "not a port from 1 to 65535",
        ("a name in place of a number",),
        ("correct `proxy-sidecar-port`",),
    ),
    Row(
        "refuse",
        "invalid-proxy-mode",
        "neither `redirect` nor `environment`",
        ("a misspelt mode",),
        ("correct `proxy-mode`",),
    ),
    Row(
        "refuse",
        "invalid-proxy-resources",
        "not a quantity, or a request above its limit",
        ("`m` or `Mi` is missing or mixed up", "only the request was raised"),
        ("correct the `proxy-…` annotation",),
    ),
    Row(
        "refuse",
        "invalid-proxy-application",
        "the application of a second exchange cannot be used",
        (
            "a name in place of the application's UUID, or of the tenant's",
            "`proxy-then-tenant-id` without `proxy-then-client-id`",
            "the ServiceAccount has no client id, which the application would trust",
        ),
        ("correct `proxy-then-client-id` and `proxy-then-tenant-id`, or annotate the ServiceAccount",),
    ),
    Row(
        "refuse",
        "proxy-on-host-network",
        "the redirection would change the node",
        ("a DaemonSet with `hostNetwork: true` asks for the proxy",),
        ("drop `hostNetwork` or the proxy",),
    ),
    Row(
        "refuse",
        "proxy-on-windows",
        "the proxy runs on Linux only",
        ("a Windows pod has the annotation `inject-proxy-sidecar`",),
        ("use an SDK with workload identity",),
    ),
    Row(
        "refuse",
        "volume-name-taken",
        "the pod has another volume of the reserved name",
        (_RESERVED,),
        ("rename it",),
    ),
    Row(
        "refuse",
        "token-paths-taken",
        "the container's own mounts block every path of the token",
        ("a volume is mounted at `/` or at `/var/run/secrets/azure`, and another at `/azure-workload-identity`",),
        ("move one, or skip the container",),
    ),
    Row(
        "refuse",
        "annotations-too-large",
        "the annotations have more than 256 KiB, the API server's limit, or a list names more than 5,000 containers",
        (_TOO_LARGE,),
        ("shorten them",),
    ),
    Row(
        "refuse",
        "too-many-containers",
        "more than 5,000 containers would get the identity; such a pod is larger than etcd stores",
        (_TOO_LARGE,),
        ("select containers by the lists",),
    ),
    Row(
        "refuse",
        "too-many-mounts",
        "the containers that get the identity have more than 5,000 mounts and devices in all; the API server has no "
        "limit, but no node starts such a pod",
        (_TOO_LARGE,),
        ("remove some",),
    ),
    Row(
        "refuse",
        "too-many-variables",
        "the containers that get the identity have more than 50,000 variables in all; no node starts such a pod",
        (_TOO_LARGE,),
        ("remove some",),
    ),
    Row(
        "refuse",
        "malformed-pod",
        "a field has a wrong type",
        ("a number or `true` without quotes, where the API has text", "a list in place of a map"),
        ("the message names the field: correct it",),
    ),
    Row(
        "error",
        "accounts-unavailable",
        "ServiceAccounts cannot be read",
        ("the API server does not answer the webhook", "the webhook's ClusterRole lost `get` on ServiceAccounts"),
        ("the message has the reason: no answer, or no permission",),
    ),
    Row(
        "error",
        "overloaded",
        "large requests use all the memory that is reserved for them",
        ("many very large pods are created at once",),
        ("the API server's `failurePolicy` decides meanwhile; raise `replicaCount`",),
    ),
    Row("error", "internal-error", "an internal error of the webhook", ("a bug",), ("report it, with the log",)),
    *(
        Row(
            "error",
            code,
            "not a request of an API server",
            ("a scanner or a health check of something else calls the port",),
            ("let only the API server reach the port; a NetworkPolicy can",),
        )
        for code in ("broken-review", "not-json", "wrong-content-type", "body-too-large", "slow-body", "client-gone")
    ),
)
_COPIED: Final = ("the container's manifest is from before workload identity",)

WARNINGS: Final = (
    Row(
        "",
        "no-client-id",
        "the ServiceAccount has no client id, so AZURE_CLIENT_ID is not injected",
        (
            "the ServiceAccount was created without `azure.workload.identity/client-id`",
            "the pod runs as `default`, because its spec has no `serviceAccountName`",
        ),
        ("annotate it, unless the app names its identity itself",),
    ),
    Row(
        "",
        "near-miss",
        "a key is misspelt (`client_id`, `Client-ID`)",
        ("an underscore, an upper case letter or another domain in the key",),
        ("use the key that the warning names",),
    ),
    Row(
        "",
        "wrong-object",
        "a key is right, but on the wrong object, or an annotation where a label belongs",
        ("`use` among the annotations", "`client-id` on the pod template or the Deployment"),
        ("move it",),
    ),
    Row(
        "",
        "unknown-key",
        "a key below `azure.workload.identity/` that means nothing",
        ("it is of another version, or of something else that uses the prefix",),
        ("correct or remove it",),
    ),
    Row(
        "",
        "label-missing",
        "the pod was probably meant to take part, and does not",
        ("its ServiceAccount has a client id, or the pod has annotations of this webhook, and the label is missing",),
        ("label the pod template's metadata",),
    ),
    Row(
        "",
        "malformed-client-id",
        "the client id is not a UUID",
        ("the identity's name in place of its client id", "spaces or quotes around it"),
        ("correct it",),
    ),
    Row(
        "",
        "malformed-tenant-id",
        "the tenant id is neither a UUID nor a domain",
        ("the tenant's display name in place of its id",),
        ("correct it",),
    ),
    Row(
        "",
        "unknown-container",
        "a list names containers that the pod does not have",
        ("a container was renamed, or the list was written for another workload",),
        ("correct the list",),
    ),
    Row(
        "",
        "not-a-boolean",
        'a value that should be "true" or "false" is neither, and has no effect',
        ("`yes`, `on` or `1`",),
        ("correct it",),
    ),
    Row(
        "",
        "custom-endpoint-off",
        "the server is not set up for that token endpoint",
        ("the annotation's suffix differs from the chart's `customTokenEndpoint.annotationSuffix`",),
        ("ask your administrator, or remove the annotation",),
    ),
    Row(
        "",
        "shadowed-variable",
        "a container sets a variable of the identity to another value",
        _COPIED,
        ("remove it, unless that is intended",),
    ),
    Row(
        "",
        "other-credential",
        "a container sets a secret or certificate, which DefaultAzureCredential prefers",
        _COPIED,
        ("remove it",),
    ),
    Row(
        "",
        "token-credentials",
        "a container sets AZURE_TOKEN_CREDENTIALS so that DefaultAzureCredential does not use the identity",
        ("it is set to `dev`, for a developer's machine",),
        ("remove it, or set `prod` or `WorkloadIdentityCredential`",),
    ),
    Row(
        "",
        "doubled-variable",
        "a container sets a variable of Azure's SDKs more than once, to different values; Kubernetes uses the last",
        ("two patches or templates each add it",),
        ("remove all but one",),
    ),
    Row(
        "",
        "token-path-taken",
        "the container has a mount of its own at the token's documented path",
        ("the token was projected by hand before",),
        ("read the token where AZURE_FEDERATED_TOKEN_FILE points",),
    ),
    Row(
        "",
        "proxy-after-init",
        "without native sidecars, init containers cannot use the proxy",
        ("the cluster is older than Kubernetes 1.29",),
        ("use the proxy from an ordinary container, or use a newer cluster",),
    ),
    Row(
        "",
        "proxy-port-taken",
        "a container declares the port on which the proxy listens",
        ("the app listens on 8000, the proxy's default, too",),
        ("set `proxy-sidecar-port`",),
    ),
    Row(
        "",
        "proxy-uid-used",
        "a container runs as uid 1501, which the redirect rules exempt: its requests reach the node's IMDS",
        ("`runAsUser` was copied from the proxy",),
        ("run it as another user",),
    ),
)


def explanations() -> list[Explanation]:
    """All of them, in the order in which an admission can meet them."""
    return [
        Explanation(row.code, source, row.meaning, row.note, row.causes, row.fix, manual.link(PAGE, row.code))
        for source, rows in ((Source.REASON, REASONS), (Source.WARNING, WARNINGS))
        for row in rows
    ]
