"""Every string that others see on the wire: labels, annotations, variables, paths, ports.

The values are those of Azure/azure-workload-identity v1.6.0, so that pods, dashboards and policies written for it keep
working. Names that v1.6.0 does not have are marked "ours".
"""

from typing import Final

PREFIX: Final = "azure.workload.identity/"

# A label of pods, and of namespaces (ours).
USE_LABEL: Final = PREFIX + "use"

# On ServiceAccounts.
CLIENT_ID: Final = PREFIX + "client-id"
TENANT_ID: Final = PREFIX + "tenant-id"

# On ServiceAccounts and pods.
TOKEN_EXPIRATION: Final = PREFIX + "service-account-token-expiration"

# On pods.
SKIP_CONTAINERS: Final = PREFIX + "skip-containers"
INJECT_CONTAINERS: Final = PREFIX + "inject-containers"  # ours
INJECT_PROXY: Final = PREFIX + "inject-proxy-sidecar"
PROXY_PORT: Final = PREFIX + "proxy-sidecar-port"
SECOND_AUDIENCE: Final = PREFIX + "second-token-audience"  # ours
PROXY_MODE: Final = PREFIX + "proxy-mode"  # ours
PROXY_CPU_REQUEST: Final = PREFIX + "proxy-cpu-request"  # ours, as are the next three
PROXY_MEMORY_REQUEST: Final = PREFIX + "proxy-memory-request"
PROXY_CPU_LIMIT: Final = PREFIX + "proxy-cpu-limit"
PROXY_MEMORY_LIMIT: Final = PREFIX + "proxy-memory-limit"
# Ours: the application of which the proxy gets tokens by a second exchange, and in which tenant.
PROXY_THEN_CLIENT_ID: Final = PREFIX + "proxy-then-client-id"
PROXY_THEN_TENANT_ID: Final = PREFIX + "proxy-then-tenant-id"
CUSTOM_ENDPOINT_PREFIX: Final = PREFIX + "use-"
USE_BINDING: Final = CUSTOM_ENDPOINT_PREFIX + "identity-binding"  # the one that AKS documents

# Annotations of Kubernetes.
# https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-config-mirror
MIRROR_POD: Final = "kubernetes.io/config.mirror"
DEFAULT_CONTAINER: Final = "kubectl.kubernetes.io/default-container"

# Between two admission policies, on a pod that is refused: a label, and an annotation with the reason.
REFUSED: Final = PREFIX + "refused"

ACCOUNT_ANNOTATIONS: Final = frozenset({CLIENT_ID, TENANT_ID, TOKEN_EXPIRATION})
POD_ANNOTATIONS: Final = frozenset(
    {
        TOKEN_EXPIRATION,
        SKIP_CONTAINERS,
        INJECT_CONTAINERS,
        INJECT_PROXY,
        PROXY_PORT,
        SECOND_AUDIENCE,
        PROXY_MODE,
        PROXY_CPU_REQUEST,
        PROXY_MEMORY_REQUEST,
        PROXY_CPU_LIMIT,
        PROXY_MEMORY_LIMIT,
        PROXY_THEN_CLIENT_ID,
        PROXY_THEN_TENANT_ID,
    }
)

# Variables that Azure SDKs read.
ENV_CLIENT_ID: Final = "AZURE_CLIENT_ID"
ENV_TENANT_ID: Final = "AZURE_TENANT_ID"
ENV_TOKEN_FILE: Final = "AZURE_FEDERATED_TOKEN_FILE"
ENV_AUTHORITY_HOST: Final = "AZURE_AUTHORITY_HOST"
ENV_TOKEN_PROXY: Final = "AZURE_KUBERNETES_TOKEN_PROXY"
ENV_TOKEN_PROXY_SNI: Final = "AZURE_KUBERNETES_SNI_NAME"
ENV_TOKEN_PROXY_CA_FILE: Final = "AZURE_KUBERNETES_CA_FILE"
ENV_TOKEN_PROXY_CA_DATA: Final = "AZURE_KUBERNETES_CA_DATA"
ENV_TOKEN_PROXY_CAS: Final = frozenset({ENV_TOKEN_PROXY_CA_FILE, ENV_TOKEN_PROXY_CA_DATA})
ENV_POD_IDENTITY_HOST: Final = "AZURE_POD_IDENTITY_AUTHORITY_HOST"
# Ours: the file of the second token, which SDKs do not read by themselves.
ENV_SECOND_TOKEN_FILE: Final = "AZURE_SECOND_FEDERATED_TOKEN_FILE"
INJECTED_VARIABLES: Final = frozenset(
    {
        ENV_CLIENT_ID,
        ENV_TENANT_ID,
        ENV_TOKEN_FILE,
        ENV_SECOND_TOKEN_FILE,
        ENV_AUTHORITY_HOST,
        ENV_TOKEN_PROXY,
        ENV_TOKEN_PROXY_SNI,
        ENV_TOKEN_PROXY_CA_FILE,
        ENV_TOKEN_PROXY_CA_DATA,
        ENV_POD_IDENTITY_HOST,
    }
)
# With one of these set, DefaultAzureCredential picks EnvironmentCredential before workload identity.
ENV_OTHER_CREDENTIALS: Final = frozenset({"AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH"})

# Which credentials DefaultAzureCredential tries: a group ("dev", "prod") or one by its name.
ENV_TOKEN_CREDENTIALS: Final = "AZURE_TOKEN_CREDENTIALS"

# The volumes and where they are mounted: the first is as v1.6.0 makes it, the second (ours) has the token at the path
# that Azure documents. The third directory (ours) is for containers whose own mounts block both.
VOLUME_PREFIX: Final = "azure-workload-identity-reserved-"  # v1.6.0 and v1.6.1 append a hash
VOLUME: Final = VOLUME_PREFIX + "token"
DOCUMENTED_VOLUME: Final = "azure-workload-identity-token"
VOLUMES: Final = frozenset({VOLUME, DOCUMENTED_VOLUME})
V160_DIRECTORY: Final = "/var/run/secrets/azure/wi"  # v1.6.1: a directory below it
DOCUMENTED_DIRECTORY: Final = "/var/run/secrets/azure/tokens"
FALLBACK_DIRECTORY: Final = "/azure-workload-identity"
# Files, relative to the volume.
V160_TOKEN_FILE: Final = "token/azure-identity-token"
TOKEN_FILE: Final = "azure-identity-token"
SECOND_TOKEN_FILE: Final = "second-identity-token"  # ours, in the second volume
CA_FILE: Final = "ca-cert/ca.crt"
PROXY_CA_FILE: Final = "proxy-ca/ca.crt"  # ours
CA_CONFIGMAP_KEY: Final = "ca.crt"

# The proxy's containers. Uid and gid are those of v1.6.0's image: the redirect rules exempt the uid.
PROXY_CONTAINER: Final = "azwi-proxy"
PROXY_INIT_CONTAINER: Final = "azwi-proxy-init"
PROXY_CONTAINERS: Final = frozenset({PROXY_CONTAINER, PROXY_INIT_CONTAINER})
PROXY_UID: Final = 1501
PROXY_PROGRAM: Final = "/proxy"
ENV_PROXY_PORT: Final = "PROXY_PORT"
ENV_PROXY_THEN_CLIENT_ID: Final = "PROXY_THEN_CLIENT_ID"  # ours, as is the next one
ENV_PROXY_THEN_TENANT_ID: Final = "PROXY_THEN_TENANT_ID"
# Ours: the proxy's way out of the cluster, and the certificates that it trusts beside the system's.
ENV_HTTPS_PROXY: Final = "HTTPS_PROXY"
ENV_NO_PROXY: Final = "NO_PROXY"
ENV_CERT_FILE: Final = "SSL_CERT_FILE"
# iptables (legacy) locks a file, by default below /run, which it cannot create on a read-only root.
ENV_XTABLES_LOCK: Final = "XTABLES_LOCKFILE"
XTABLES_LOCK: Final = "/dev/shm/xtables.lock"
DEFAULT_PROXY_PORT: Final = 8000

DEFAULT_AUDIENCE: Final = "api://AzureADTokenExchange"
# Of AKS's identity bindings: https://learn.microsoft.com/azure/aks/identity-bindings
BINDING_AUDIENCE: Final = "api://AKSIdentityBinding"
DEFAULT_TOKEN_EXPIRATION: Final = 3600
MIN_TOKEN_EXPIRATION: Final = 3600
MAX_TOKEN_EXPIRATION: Final = 86400

# The server.
MUTATE_PATH: Final = "/mutate-v1-pod"
# Ours: the path of the webhook entry whose namespaceSelector matches USE_LABEL.
MUTATE_NAMESPACE_PATH: Final = MUTATE_PATH + "/namespace"
WEBHOOK_PORT: Final = 9443
# Objects of the installation, with the names of v1.6.0's chart.
NAMESPACE: Final = "azure-workload-identity-system"
CERT_SECRET: Final = "azure-wi-webhook-server-cert"
WEBHOOK_SERVICE: Final = "azure-wi-webhook-webhook-service"
WEBHOOK_CONFIGURATION: Final = "azure-wi-webhook-mutating-webhook-configuration"
MAPPING_KEY: Final = "mapping.yaml"
HEALTH_ADDR: Final = ":9440"
METRICS_ADDR: Final = ":8095"

AUTHORITY_HOSTS: Final = {
    "azurepubliccloud": "https://login.microsoftonline.com/",
    "azurecloud": "https://login.microsoftonline.com/",
    "azureusgovernmentcloud": "https://login.microsoftonline.us/",
    "azureusgovernment": "https://login.microsoftonline.us/",
    "azurechinacloud": "https://login.chinacloudapi.cn/",
    "azuregermancloud": "https://login.microsoftonline.de/",
}
