"""The findings of `azwi doctor`: what each means, its causes, and the command that doctor prints."""

from typing import Final, NamedTuple

from azwi_cli.console import manual
from azwi_cli.explanations.explanation import Explanation, Source

PAGE: Final = "operate/doctor.md"


class Row(NamedTuple):
    """A finding; `command` says what the printed command does."""

    code: str
    severity: str
    meaning: str
    command: str
    causes: tuple[str, ...]


_RESTARTED: Final = "`kubectl rollout restart`, or removes a configuration without a Deployment"
_RECREATED: Final = "restarts their owner, or creates the pod again"
_REPLACED: Final = (
    "empties the Secret, which the server or cert-manager then fills again; one that you made, from your files "
    "`tls.crt`, `tls.key` and, if it has one, `ca.crt`"
)
FINDINGS: Final = (
    Row(
        "cluster-too-old",
        "error",
        "`--pre`: Kubernetes is older than 1.29",
        "`az aks upgrade`",
        ("native sidecars and the fields that the chart uses came with 1.29",),
    ),
    Row(
        "right-missing",
        "error",
        "`--pre`: you may not create everything that the chart creates",
        "a ClusterRoleBinding, for an administrator",
        ("a namespaced role: the chart also creates ClusterRoles and a webhook configuration",),
    ),
    Row(
        "webhook-present",
        "warning",
        "`--pre`: another azure-workload-identity webhook is installed",
        "removes it; see [migrate.md](../install/migrate.md) first",
        ("v1.6.0's chart or AKS's add-on is installed",),
    ),
    Row(
        "issuer-not-published",
        "error",
        "`--pre`: the issuer's discovery document or keys are not published, or do not match",
        "`azwi oidc`, which writes them to a directory; [`azwi oidc publish`]"
        "(../install/self-managed-issuer.md#publish-in-azure-storage) also puts them in Azure Storage",
        (
            "`--service-account-issuer` is an address that only the cluster has: [set one](../README.md#quick-starts)",
            "the documents were never published, or not at the issuer's URL",
            "the documents were published with an older key",
        ),
    ),
    Row(
        "not-installed",
        "error",
        "no MutatingWebhookConfiguration is Azure Workload Identity's",
        "`helm install`",
        (
            "another kubeconfig context than the one with the webhook",
            "the Helm release was removed",
        ),
    ),
    Row(
        "several-webhooks",
        "warning",
        "two webhooks get the same pods",
        "removes the one without a server, else the older; never AKS's own before yours",
        (
            "AKS's add-on is on beside the chart",
            "an older release was left behind by a migration",
        ),
    ),
    Row(
        "policies-not-served",
        "error",
        "admission policies are installed, and the API server has no MutatingAdmissionPolicy",
        "`helm upgrade --set engine=webhook`, or removes the policies",
        (
            "Kubernetes is older than 1.36, or it is 1.35 without the feature gate",
            "`--runtime-config` of the API server leaves the kind out",
        ),
    ),
    Row(
        "policy-not-bound",
        "error",
        "an admission policy has no binding, so it has no effect",
        "creates the binding, as the others are",
        ("the binding was deleted, or not applied",),
    ),
    Row(
        "policy-missing",
        "error",
        "a binding names an admission policy that does not exist",
        "`helm upgrade`, or removes the binding",
        ("the policy was deleted, or refused when it was applied",),
    ),
    Row(
        "several-policies",
        "warning",
        "two sets of admission policies inject identities",
        "removes the older one",
        ("`azwi policy` was applied under a second name, or beside the chart",),
    ),
    Row(
        "engine-leftover",
        "warning",
        "a webhook and admission policies handle the same pods, and neither leaves them to the other",
        "removes the older engine",
        ("a migration from one engine to the other was not finished",),
    ),
    Row(
        "guard-off",
        "warning",
        "an error of the policy that injects is ignored, and no guard refuses the pod without a token",
        "sets `failurePolicy: Fail`",
        ("`policy.failurePolicy=Ignore` with `policy.guard` off or warn",),
    ),
    Row(
        "service-missing",
        "error",
        "a configuration calls a Service that does not exist",
        "creates the Service again while its servers run, else removes the configuration or its Helm release",
        ("the Helm release or its namespace was removed, and the configuration was not",),
    ),
    Row(
        "webhook-scaled-to-zero",
        "error",
        "the Deployment has no replicas",
        "`kubectl scale`",
        ("somebody or an autoscaler scaled it down",),
    ),
    Row(
        "webhook-not-ready",
        "error",
        "no server is ready",
        "`kubectl rollout restart`",
        (
            "its image cannot be pulled, or no node has room for it",
            "it cannot read ServiceAccounts or its certificate",
        ),
    ),
    Row(
        "webhook-call-failed",
        "error",
        "the API server cannot call the webhook; what it says is shown",
        _RESTARTED,
        (
            "the caBundle does not fit the certificate",
            "a firewall or NetworkPolicy between API server and port 9443",
        ),
    ),
    Row(
        "webhook-not-called",
        "error",
        "a labelled pod is admitted as it is: the failure is ignored",
        _RESTARTED,
        (
            "`failurePolicy: Ignore`, with one of the causes of `webhook-call-failed`",
            "a selector excludes the namespace",
        ),
    ),
    Row(
        "namespace-not-watched",
        "error",
        "pods take part in a namespace whose pods no webhook gets",
        "labels the namespace",
        ("the configuration's `namespaceSelector` needs a label that the namespace lacks",),
    ),
    Row(
        "certificate-not-made",
        "error",
        "the webhook's servers exit at once, since they get no certificate; the last line of their log is shown",
        "gives it a Secret of its own, or creates the release's Secret and roles again",
        (
            "another program, such as cert-manager or v1.6.0's server, keeps its certificate in the same Secret",
            "the webhook's ServiceAccount may not read or write the Secret or the caBundle",
        ),
    ),
    Row(
        "cabundle-empty",
        "error",
        "the API server trusts no certificate of the webhook",
        "writes the CA of the Secret",
        ("a GitOps tool writes the configuration as in its repository, without the caBundle",),
    ),
    Row(
        "cabundle-mismatch",
        "error",
        "the caBundle does not fit the served certificate",
        "writes the CA of the Secret",
        (
            "a GitOps tool or a backup wrote an old caBundle",
            "the Secret was replaced by hand",
        ),
    ),
    Row(
        "cabundle-contested",
        "warning",
        "the server and cert-manager, or several field managers, write the caBundle",
        "removes the annotation, or the other managers' ownership",
        (
            "cert-manager's annotation was left on the configuration",
            "Argo CD or Flux applies the field",
        ),
    ),
    Row(
        "certificate-unusable",
        "error",
        "the served certificate has expired, is for another name, or is not from its CA",
        _REPLACED,
        (
            "the Secret was copied from another release or namespace",
            "nothing renews a certificate made by hand",
        ),
    ),
    Row(
        "certificate-expiring",
        "warning",
        "the served certificate expires within 7 days, and was not renewed",
        _REPLACED,
        ("the server or cert-manager that renews it does not run, or may not write the Secret",),
    ),
    Row(
        "mapping-missing",
        "error",
        "the ConfigMap of `--identity-mapping-configmap` is not there",
        "creates it from your `mapping.yaml`",
        ("the ConfigMap is in another namespace than the webhook",),
    ),
    Row(
        "mapping-unreadable",
        "error",
        "the ConfigMap has no valid [identity mapping](../use/identity-mapping.md); what is wrong is shown",
        "`kubectl edit`",
        ("the indentation is wrong, or the key is not `mapping.yaml`",),
    ),
    Row(
        "mapping-entry-invalid",
        "error",
        "entries of the identity mapping are skipped; each is shown with its error",
        "`kubectl edit`",
        ("a client id that is no UUID, or a field that does not exist",),
    ),
    Row(
        "label-missing",
        "error",
        "a workload shows signs of taking part, but its pods lack the label",
        "labels the pod template",
        ("the label was forgotten when the ServiceAccount was annotated",),
    ),
    Row(
        "label-misplaced",
        "error",
        "the label is an annotation, or on the workload, the ServiceAccount or the namespace",
        "labels the pod template",
        ("`kubectl label deployment` sets it on the workload, and not on its pod template",),
    ),
    Row(
        "label-not-true",
        "error",
        "the label is there, with another value than `true`",
        "labels the pod template",
        ("`True`, `yes`, or a template's variable that was not replaced",),
    ),
    Row(
        "near-miss",
        "error",
        "a key is misspelt",
        "moves its value to the right key",
        ("an underscore, an upper case letter or another domain in the key",),
    ),
    Row(
        "wrong-object",
        "error",
        "a key is right and on the wrong object",
        "moves it",
        ("`client-id` on the pod template or the Deployment in place of the ServiceAccount",),
    ),
    Row(
        "unknown-key",
        "warning",
        "a key below `azure.workload.identity/` is not known",
        "removes it",
        ("it is of another version, or of something else that uses the prefix",),
    ),
    Row(
        "pod-refused",
        "error",
        "the webhook refuses the pods; [the reason](../reference/decisions.md) is shown",
        "removes what it refuses",
        ("an annotation was changed since the pods were created",),
    ),
    Row(
        "account-missing",
        "error",
        "the ServiceAccount is not there",
        "`kubectl create serviceaccount`",
        ("the name is misspelt, or the ServiceAccount is of another namespace",),
    ),
    Row(
        "no-client-id",
        "error",
        "pods take part, and neither their account nor they name an identity",
        "`azwi serviceaccount create`",
        ("the ServiceAccount was never annotated, or Helm or Argo CD wrote it back",),
    ),
    Row(
        "client-id-invalid",
        "error",
        "the client id is not a UUID, so Entra does not know it (AADSTS700016)",
        "sets the UUID that is in it, else `azwi serviceaccount create`",
        ("the identity's name or resource id in place of its client id",),
    ),
    Row(
        "proxy-forbidden",
        "error",
        "the proxy's redirect mode needs NET_ADMIN, which the namespace's Pod Security level forbids",
        "sets `proxy-mode: environment`",
        ("the namespace enforces `baseline` or `restricted`",),
    ),
    Row(
        "proxy-out-of-bounds",
        "error",
        "a LimitRange or ResourceQuota does not admit the resources of the injected proxy",
        "annotates the pod template with resources that fit",
        (
            "a LimitRange has a minimum above the proxy's requests",
            "a ResourceQuota needs limits that the proxy does not have",
        ),
    ),
    Row(
        "binding-not-set-up",
        "error",
        "pods ask for an identity binding, and the webhook has no token proxy, so they federate directly",
        "removes the annotation; an administrator sets the webhook up for bindings with the chart's "
        "`customTokenEndpoint`",
        ("the annotation was copied from a cluster with AKS's add-on",),
    ),
    Row(
        "binding-forbidden",
        "error",
        "pods ask for an identity binding, and their ServiceAccount lacks the right `use-managed-identity` on the "
        "client id",
        "creates the ClusterRole and its binding",
        ("the ClusterRole names another client id", "its binding names another namespace or ServiceAccount"),
    ),
    Row(
        "binding-misplaced",
        "error",
        "the annotation that asks for an identity binding is not on the pods, so it has no effect",
        "adds it to the pods, and removes it from the ServiceAccount",
        (
            "it is on the Deployment's own metadata in place of its pod template's",
            "it is a label of the pods, or on the ServiceAccount",
        ),
    ),
    Row(
        "binding-default-credential",
        "error",
        "pods with an identity binding use DefaultAzureCredential, which sends their token to Entra in place of the "
        "token proxy: AADSTS700211 or 700212",
        "adds the proxy, which uses the binding, and has DefaultAzureCredential use it (`ManagedIdentityCredential`)",
        (
            "AZURE_TOKEN_CREDENTIALS is set, which only DefaultAzureCredential reads; a pod shows no other sign of it",
            "SDKs [use a binding](../use/identity-bindings.md) only where the app constructs the credential for it",
        ),
    ),
    Row(
        "binding-unused",
        "warning",
        "a ClusterRoleBinding allows accounts to use an identity by a binding, and none of their pods asks for one",
        "deletes it, or removes those accounts from it",
        ("the workload was removed, or federates directly now", "the annotation of its pods was never added"),
    ),
    Row(
        "wrong-audience",
        "error",
        "pods have tokens for another audience than the one they are exchanged for (AADSTS700212)",
        "restarts them, or removes their own variable that names another token",
        (
            "the pods are older than the annotation `use-identity-binding`, or than a setting of the webhook",
            "a container sets AZURE_FEDERATED_TOKEN_FILE to a token of its own",
        ),
    ),
    Row(
        "second-token-missing",
        "error",
        "pods ask for a second token, or read one, and there is none",
        "annotates the pods with the audience that is missing",
        (
            "`second-token-audience` is that of the first token: the annotation for the binding is missing",
            "a container reads AZURE_SECOND_FEDERATED_TOKEN_FILE, and the pods are not annotated",
        ),
    ),
    Row(
        "image-pull-forbidden",
        "error",
        "an account is annotated for image pulls with its token, and nodes may not request that token",
        "creates a Role for the audience, and its binding to the nodes",
        (
            "the API server allows nodes the audiences of a pod's own volumes only, and this one is another",
            "`acr-tenant-id` selects the audience: [Entra's, or the identity binding's](../use/image-pulls.md)",
        ),
    ),
    Row(
        "image-pull-incomplete",
        "error",
        "the annotations for image pulls are not on the ServiceAccount, or have no client id",
        "moves them, or adds the client id",
        ("the annotations were put on the pods, as those of the webhook are", "only the tenant was annotated"),
    ),
    Row(
        "image-pull-unsupported",
        "error",
        "an account is annotated for image pulls with its token, and kubelets are older than 1.34",
        "`az aks nodepool upgrade`",
        ("the control plane was upgraded, and a node pool was not",),
    ),
    Row(
        "pod-not-injected",
        "error",
        "pods are older than the label, the annotation or the webhook",
        _RECREATED,
        ("the pods were created before the label, or while the webhook did not run",),
    ),
    Row(
        "pod-outdated",
        "error",
        "pods have the client id that the account, or the mapping for it, had before",
        _RECREATED,
        ("the annotation was changed, and the workload not restarted",),
    ),
    Row(
        "token-not-rotated",
        "error",
        "the token is mounted by `subPath`, so that the app never sees the new one",
        "mounts the whole volume",
        ("`subPath` makes the kubelet copy the file once",),
    ),
    Row(
        "clock-skew",
        "error",
        "the clocks of the API server and Azure, or of this machine if Azure is not read, differ by more than 5 "
        "minutes, without the time that the answers took",
        "`timedatectl set-ntp true`, where the clock is wrong",
        ("no time synchronisation in a virtual machine, or after it was paused",),
    ),
    Row(
        "egress-blocked",
        "error",
        "NetworkPolicies keep pods from Entra (TCP 443) or from DNS",
        "adds a NetworkPolicy that lets both out",
        ("a default-deny policy without a rule for Entra",),
    ),
    Row(
        "identity-missing",
        "error",
        "the client id is of no application or managed identity of the tenant",
        "`azwi serviceaccount create`; where the mapping says which one, `kubectl edit` of that after it",
        (
            "the identity was deleted, or belongs to another tenant",
            "the object id in place of the client id",
        ),
    ),
    Row(
        "credential-missing",
        "error",
        "the identity trusts other subjects only",
        "adds the federated credential",
        ("the federated credential was never added, or deleted",),
    ),
    Row(
        "issuer-differs",
        "error",
        "the identity trusts the account's subject from another issuer, such as one without the slash at the end",
        "adds the federated credential",
        (
            "the slash at the end; AKS's issuers have one",
            "the cluster was created again",
        ),
    ),
    Row(
        "subject-differs",
        "error",
        "the identity trusts a subject that is nearly the account's",
        "adds the federated credential",
        ("the subject was typed by hand",),
    ),
    Row(
        "audience-differs",
        "error",
        "the identity trusts the account's tokens for another audience",
        "replaces the federated credential",
        ("a credential of the portal's wizard for another purpose, or of another cloud",),
    ),
    Row(
        "credentials-full",
        "error",
        "the identity trusts other subjects only, and has 20 credentials, the limit of Entra",
        "deletes an unused credential and adds the right one, or creates another identity",
        ("short-lived namespaces left their credentials behind",),
    ),
)


def explanations() -> list[Explanation]:
    """All of them, in the order in which a pod meets them."""
    return [
        Explanation(
            row.code,
            Source.DOCTOR,
            row.meaning,
            row.severity,
            row.causes,
            (f"run the command that azwi doctor prints ({row.command})",),
            manual.link(PAGE, row.code),
        )
        for row in FINDINGS
    ]
