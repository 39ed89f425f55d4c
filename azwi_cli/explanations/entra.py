"""The AADSTS codes: causes and fixes beside the sentence that `azure_workload_identity.entra` has for each."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from azure_workload_identity.entra import MEANINGS, Kind
from azwi_cli.console import manual
from azwi_cli.explanations.explanation import Explanation, Source

PAGE: Final = "reference/entra-errors.md"
RETRY: Final = {
    Kind.PERMANENT: "a retry does not help",
    Kind.PROPAGATING: "a retry helps for some minutes after a change",
    Kind.THROTTLED: "a retry helps later",
    Kind.OUTAGE: "a retry helps",
}


class Advice(NamedTuple):
    """What most often causes an error, and what to do; both in order."""

    causes: tuple[str, ...]
    fix: tuple[str, ...]


_COMPARE: Final = (
    "`azwi doctor -n NAMESPACE --service-account NAME` compares it with the identity's federated credentials",
    "`azwi token exchange -n NAMESPACE --service-account NAME` shows the token's issuer, subject and audience",
)
_ADD: Final = "`azwi serviceaccount create phase federated-identity` adds the federated credential"
_JWKS: Final = Advice(
    (
        "the API server signs with a new key, and the JWKS at the issuer was not published again",
        "the JWKS was published with another cluster's keys, or a cache in front of it serves an old one",
    ),
    (
        "`azwi jwks` prints the cluster's keys: publish them at the issuer's `jwks_uri`",
        "publish both keys before the API server signs with the new one ([how](../install/self-managed-issuer.md))",
    ),
)
_DOCUMENTS: Final = Advice(
    (
        "the issuer of a self-managed cluster is reachable inside a network only",
        "a firewall, a redirect to a login page or an expired certificate in front of it",
        "the storage account's container is not public, or the file has another path",
    ),
    (
        "`azwi doctor --pre` reads the issuer's documents as Entra does",
        "`azwi oidc publish` publishes both documents ([how](../install/self-managed-issuer.md))",
    ),
)
_NOT_MANAGED: Final = Advice(
    ("the first of two exchanges is for an app registration, or the token is a user's",),
    ("use a user-assigned managed identity for the first exchange ([how](../use/two-exchanges.md))",),
)
_TENANT: Final = Advice(
    (
        "a name or a client id was given in place of the tenant id",
        "the tenant is of another cloud than AZURE_AUTHORITY_HOST",
        "the subscription moved to another tenant",
    ),
    (
        "`az account show --query tenantId` prints the tenant of a subscription",
        "set the chart's `azureTenantID` or the ServiceAccount's annotation, then create the pods again",
    ),
)
_TOKEN_FILE: Final = Advice(
    (
        "AZURE_FEDERATED_TOKEN_FILE names a file that is empty or something else",
        "the app adds quotes or a line end of its own to the token",
    ),
    (
        "`kubectl get pod NAME -o yaml` shows whether the webhook mutated the pod; do not set the variable yourself",
        "`azwi token exchange` in the pod tries its own token",
    ),
)
_RESOURCE: Final = Advice(
    (
        "the scope lacks `/.default` at its end",
        "a URL of one vault or account is asked for, where the service's is needed, such as https://vault.azure.net",
        "the resource is of another cloud",
    ),
    ("`azwi token exchange --scope RESOURCE/.default` tries a scope",),
)
_CONDITIONAL: Final = Advice(
    ("a conditional access policy for workload identities blocks the address that the pods come from",),
    (
        "the tenant's sign-in log (service principal sign-ins) names the policy",
        "have the cluster's outbound addresses added to the policy's named locations",
    ),
)
_OUTAGE: Final = Advice(
    ("an incident at Entra; SDKs and the proxy retry by themselves",),
    ("wait; https://azure.status.microsoft shows whether others have it",),
)
_THROTTLE: Final = Advice(
    (
        "an app creates a new credential object for each request, so that no token is cached",
        "very many pods start at once with the same identity",
    ),
    ("keep one credential object for the life of the process", "wait for what Retry-After says"),
)
_OTHER_ASSERTION: Final = Advice(
    (
        "a secret or certificate of the environment is used instead of the pod's token",
        "the client id is of another identity than the one that was set up",
    ),
    (
        "remove AZURE_CLIENT_SECRET and AZURE_CLIENT_CERTIFICATE_PATH from the container",
        _COMPARE[0],
    ),
)

ADVICE: Final[Mapping[int, Advice]] = {
    70021: Advice(
        (
            "the issuer differs by the slash at its end, or by the cluster",
            "the namespace or the ServiceAccount's name differs from the credential's subject",
            "the credential was added less than some minutes ago",
        ),
        (*_COMPARE, _ADD),
    ),
    700211: Advice(
        (
            "the credential's issuer lacks the slash at its end, or has one too many; AKS's issuers end with one",
            "the cluster was created again, which gives it another issuer",
            "the identity was set up for another cluster",
        ),
        (
            "`kubectl get --raw /.well-known/openid-configuration` prints the cluster's issuer",
            *_COMPARE,
            _ADD,
        ),
    ),
    700212: Advice(
        (
            "the credential's audience is not the cloud's, which is api://AzureADTokenExchange in the public one",
            "the webhook's `--audience` differs from the credential's audience",
            "the app sends another token, such as the one at /var/run/secrets/kubernetes.io/serviceaccount/token",
        ),
        _COMPARE,
    ),
    700213: Advice(
        (
            "the pod runs as another ServiceAccount, often `default`, because its spec has no `serviceAccountName`",
            "the namespace or the name differs from the credential's subject, if only in upper and lower case",
            "the client id is of another identity than the one with the credential",
            "the credential was added less than some minutes ago",
        ),
        (*_COMPARE, _ADD),
    ),
    7002131: Advice(
        (
            "the expression names claims or wildcards that do not fit this cluster's subjects",
            "the expression is new, and not yet known everywhere",
        ),
        ("`az rest --method GET` on the credential shows `claimsMatchingExpression`", _COMPARE[1]),
    ),
    7002138: Advice(
        ("the subject was typed by hand; names in Kubernetes are lower case",),
        (*_COMPARE, _ADD),
    ),
    70025: Advice(
        (
            "the federated credential was never added, or deleted",
            "the client id is of another identity than the one with the credential",
            "the credential was added less than some minutes ago",
        ),
        (_ADD, *_COMPARE),
    ),
    700024: Advice(
        (
            "the app read the token once, when it started, and sends it after its end",
            "the token is mounted by `subPath`, so that the app never sees the new one",
            "the clock of the node, or of the issuer, is wrong",
        ),
        (
            "read the file again before each exchange; the Azure SDKs do",
            "mount the whole volume instead of a `subPath`",
            "`azwi doctor` compares the clocks",
        ),
    ),
    700016: Advice(
        (
            "the annotation has the object id or the principal id in place of the client id",
            "the identity was deleted and created again, which gives it another client id",
            "the identity is of another tenant than `azure.workload.identity/tenant-id` says",
            "the pod is older than the annotation",
        ),
        (
            "`az identity show --query clientId` or `az ad app show --query appId` prints the client id",
            "annotate the ServiceAccount, then `kubectl rollout restart` its workloads",
        ),
    ),
    700021: _OTHER_ASSERTION,
    700027: _JWKS,
    700030: _OTHER_ASSERTION,
    50013: _JWKS,
    50027: _TOKEN_FILE,
    5002727: _TOKEN_FILE,
    5002738: _TOKEN_FILE,
    7000272: _JWKS,
    50166: _DOCUMENTS,
    501661: _DOCUMENTS,
    90061: _DOCUMENTS,
    90002: _TENANT,
    900021: _TENANT,
    900023: _TENANT,
    500011: _RESOURCE,
    500341: Advice(
        ("the identity was deleted in the tenant",),
        ("`azwi serviceaccount create` makes another, and annotates the ServiceAccount",),
    ),
    70011: _RESOURCE,
    1002012: _RESOURCE,
    650057: Advice(
        ("the app asks for an API that its registration does not list",),
        ("add the API under API permissions of the app registration, and have an administrator consent",),
    ),
    650052: Advice(
        ("the tenant never used the service that the token is for",),
        ("`az ad sp create --id RESOURCE_APP_ID`, by an administrator",),
    ),
    7000112: Advice(
        ("somebody disabled the application or its service principal",),
        ("`az ad sp update --id CLIENT_ID --set accountEnabled=true`",),
    ),
    7000229: Advice(
        ("the application was made without a service principal, which the portal makes and Graph does not",),
        ("`az ad sp create --id CLIENT_ID`",),
    ),
    7000215: _OTHER_ASSERTION,
    700222: Advice(
        ("a token that Entra issued was sent as the assertion, such as another access token",),
        ("send the projected token of the pod: AZURE_FEDERATED_TOKEN_FILE names it",),
    ),
    700226: _NOT_MANAGED,
    700229: _NOT_MANAGED,
    700236: Advice(
        (
            "of two exchanges, the second is for an app that another tenant than the managed identity's has registered",
            "the federated credential names the issuer of another tenant",
        ),
        ("register the app in the identity's tenant, as a multitenant one ([how](../use/two-exchanges.md))",),
    ),
    530003: _CONDITIONAL,
    53003: _CONDITIONAL,
    50005: _CONDITIONAL,
    50196: _THROTTLE,
    90055: _THROTTLE,
    50000: _OUTAGE,
    90012: _OUTAGE,
    90024: _OUTAGE,
    90033: _OUTAGE,
}


def explanations() -> list[Explanation]:
    """All of them, by code."""
    return [
        Explanation(
            f"AADSTS{code}",
            Source.ENTRA,
            meaning.remedy,
            RETRY[meaning.kind],
            *ADVICE[code],
            manual.link(PAGE, f"aadsts{code}"),
        )
        for code, meaning in sorted(MEANINGS.items())
    ]
