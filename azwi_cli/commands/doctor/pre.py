"""`azwi doctor --pre`: is a cluster ready for an installation? Asks the API server, the issuer and Microsoft Entra."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from azwi_cli.azure.clouds import Cloud
from azwi_cli.cluster import kube
from azwi_cli.cluster.kube import ApiError, Cluster
from azwi_cli.commands.doctor.checks.check import CheckResult, Group
from azwi_cli.commands.doctor.findings import Area, Code, Finding, Unreadable
from azwi_cli.commands.doctor.fixes import CommandBuilder
from azwi_cli.commands.doctor.report import Report
from azwi_cli.commands.doctor.snapshot import is_workload_identity
from azwi_cli.console import output
from azwi_cli.console.errors import CommandError
from azwi_cli.issuer import discovery

MIN_MINOR: Final = 29
SYSTEM_NAMESPACE: Final = "azwi-system"
# What `helm install` of the chart creates: API group, resource, and whether it is in a namespace.
RIGHTS: Final = (
    ("", "namespaces", False),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations", False),
    ("rbac.authorization.k8s.io", "clusterroles", False),
    ("rbac.authorization.k8s.io", "clusterrolebindings", False),
    ("rbac.authorization.k8s.io", "roles", True),
    ("rbac.authorization.k8s.io", "rolebindings", True),
    ("", "serviceaccounts", True),
    ("", "services", True),
    ("", "secrets", True),
    ("apps", "deployments", True),
    ("policy", "poddisruptionbudgets", True),
)
_REVIEWS: Final = "selfsubjectaccessreviews"
_AUTHORIZATION: Final = "authorization.k8s.io/v1"


@dataclass(frozen=True, slots=True)
class PreCheck:
    """A check before an installation, which reads `area`; `title` says what holds where there are no findings."""

    title: str
    area: Area
    run: Callable[[], Iterator[Finding]]


def checks(cluster: Cluster, commands: CommandBuilder, cloud: Callable[[], Cloud]) -> Sequence[PreCheck]:
    """The checks of what an installation needs."""
    return (
        PreCheck(f"Kubernetes is 1.{MIN_MINOR} or newer", Area.SERVER, lambda: _version(cluster)),
        PreCheck("you may create what the chart creates", Area.NAMESPACES, lambda: _rights(cluster, commands)),
        PreCheck("no azure-workload-identity webhook is installed", Area.WEBHOOKS, lambda: _others(cluster, commands)),
        PreCheck("the issuer's documents are published and match", Area.ISSUER, lambda: _issuer(cluster, commands)),
        PreCheck("Microsoft Entra can be reached from here", Area.AZURE, lambda: _entra(cloud())),
    )


def results(made: Sequence[PreCheck]) -> Iterator[CheckResult]:
    """Make the checks one after the other; one that cannot be made says why.

    Raises:
        UnreachableError: when the API server does not answer.
    """
    for check in made:
        with output.progress(f"checking that {check.title}"):
            result = _result(check)
        yield result


def _result(check: PreCheck) -> CheckResult:
    try:
        return CheckResult(Group.BEFORE, check.title, tuple(check.run()))
    except CommandError as error:
        if not (isinstance(error, ApiError) or check.area is Area.AZURE):
            raise
        reason = error
    gap = Unreadable(check.title, reason.message, check.area, reason.hint)
    return CheckResult(Group.BEFORE, check.title, gaps=(gap,))


def concluded(made: Sequence[CheckResult]) -> Report:
    """The report: what any of the checks could not look at leaves the outcome unknown."""
    gaps = [gap for result in made for gap in result.gaps]
    return Report(made, gaps, [frozenset({gap.area}) for gap in gaps])


def _version(cluster: Cluster) -> Iterator[Finding]:
    found = cluster.get("/version")
    text = str(found.get("gitVersion", ""))
    minor = re.match(r"\d+", str(found.get("minor", "")))
    if found.get("major") == "1" and minor and int(minor[0]) < MIN_MINOR:
        yield Finding(
            Code.CLUSTER_TOO_OLD,
            "cluster",
            f"it runs Kubernetes {text}, and the webhook needs 1.{MIN_MINOR}",
            (f"gitVersion {text}",),
            "az aks upgrade --resource-group GROUP --name CLUSTER --kubernetes-version VERSION",
        )


def _rights(cluster: Cluster, commands: CommandBuilder) -> Iterator[Finding]:
    missing = [
        f"{resource}.{group}".rstrip(".")
        for group, resource, namespaced in RIGHTS
        if not _may_create(cluster, group, resource, SYSTEM_NAMESPACE if namespaced else "")
    ]
    if missing:
        user = _user(cluster)
        yield Finding(
            Code.RIGHT_MISSING,
            f"User {user}",
            "it may not create everything that the chart creates; the command is one for an administrator",
            tuple(f"may not create {resource}" for resource in missing),
            commands.kubectl(
                "create", "clusterrolebinding", "azwi-installer", "--clusterrole=cluster-admin", f"--user={user}"
            ),
        )


def _may_create(cluster: Cluster, group: str, resource: str, namespace: str) -> bool:
    attributes = {"verb": "create", "group": group, "resource": resource, "namespace": namespace}
    review = {
        "apiVersion": _AUTHORIZATION,
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = cluster.create(kube.path(_AUTHORIZATION, _REVIEWS), review)
    return bool((answer.get("status") or {}).get("allowed"))


def _user(cluster: Cluster) -> str:
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = cluster.create(kube.path("authentication.k8s.io/v1", "selfsubjectreviews"), review)
    return str(((answer.get("status") or {}).get("userInfo") or {}).get("username", ""))


def _others(cluster: Cluster, commands: CommandBuilder) -> Iterator[Finding]:
    where = kube.path("admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations")
    for found in filter(is_workload_identity, cluster.list(where)):
        name = found["metadata"]["name"]
        yield Finding(
            Code.WEBHOOK_PRESENT,
            f"MutatingWebhookConfiguration {name}",
            "another azure-workload-identity webhook is installed; on AKS, the add-on is one",
            (f"created {found['metadata'].get('creationTimestamp')}",),
            commands.uninstall(found),
        )


def _issuer(cluster: Cluster, commands: CommandBuilder) -> Iterator[Finding]:
    issuer = str(cluster.get(discovery.CONFIGURATION_PATH).get("issuer") or "")
    kids = [str(key.get("kid")) for key in cluster.get(discovery.JWKS_PATH).get("keys") or ()]
    faults = tuple(discovery.faults(issuer, kids)) if issuer.startswith("https://") else ("it is not an https URL",)
    if faults:
        yield Finding(
            Code.ISSUER_NOT_PUBLISHED,
            f"Issuer {issuer}",
            "Microsoft Entra cannot check this cluster's tokens by what its issuer publishes",
            faults,
            commands.azwi("oidc", "--from-cluster", "--output-dir", "site"),
        )


def _entra(cloud: Cloud) -> Iterator[Finding]:
    discovery.fetch(f"{cloud.authority_host}/common/v2.0{discovery.CONFIGURATION_PATH}")
    yield from ()
