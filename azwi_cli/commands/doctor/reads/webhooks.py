"""The installed webhooks: their configurations, and the Service, servers and certificates behind each."""

import binascii
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.cluster import kube
from azwi_cli.commands.doctor import settings
from azwi_cli.commands.doctor.findings import Area
from azwi_cli.commands.doctor.reads.reader import Reader
from azwi_cli.commands.doctor.selectors import matches
from azwi_cli.commands.doctor.snapshot import (
    Installation,
    Snapshot,
    arguments,
    is_workload_identity,
    release_of,
)

SERVER_PROGRAM: Final = "azwi-webhook"
CERT_MANAGER: Final = "cert-manager.io/certificate-name"
CERTIFICATES: Final = ("ca.crt", "tls.crt")
_ADMISSION: Final = "admissionregistration.k8s.io/v1"


def read(reader: Reader, snapshot: Snapshot) -> Snapshot:
    """Read the webhooks of this kind; None when configurations cannot be read."""
    found = reader.list(Area.WEBHOOKS, "webhook configurations", kube.path(_ADMISSION, "mutatingwebhookconfigurations"))
    if found is None:
        return replace(snapshot, installations=None)
    installations = [_installation(reader, item) for item in found if is_workload_identity(item)]
    return replace(snapshot, installations=installations)


def _installation(reader: Reader, configuration: JsonObject) -> Installation:
    installation = Installation(configuration)
    namespace, name = installation.service_key
    if not name:
        return installation
    service = reader.find(Area.SERVER, f"Service {namespace}/{name}", kube.path("v1", "services", namespace, name))
    slices = reader.list(
        Area.SERVER,
        f"EndpointSlices of {namespace}/{name}",
        kube.path("discovery.k8s.io/v1", "endpointslices", namespace),
        labels=f"kubernetes.io/service-name={name}",
    )
    deployments = reader.list(
        Area.SERVER, f"Deployments of {namespace}", kube.path("apps/v1", "deployments", namespace)
    )
    deployment = None if deployments is None else _behind(service or {}, deployments, release_of(configuration))
    pods = _pods(reader, namespace, deployment) if deployment else ()
    found = Installation(configuration, service, slices, deployment, pods)
    return _with_certificates(reader, namespace, found)


def _behind(service: JsonObject, deployments: Sequence[JsonObject], release: str) -> JsonObject:
    """The Deployment whose pods a Service has; without the Service, that of the same Helm release, or the server's."""
    selector = (service.get("spec") or {}).get("selector")
    for deployment in deployments:
        labels = deployment["spec"]["template"]["metadata"].get("labels") or {}
        if selector and matches({"matchLabels": selector}, labels):
            return deployment
    if service:
        return {}
    for deployment in deployments:
        of_release = release and release_of(deployment) == release
        if of_release or SERVER_PROGRAM in arguments(deployment):
            return deployment
    return {}


def _pods(reader: Reader, namespace: str, deployment: JsonObject) -> Sequence[JsonObject]:
    """The pods of a Deployment, by the labels that its selector names."""
    labels = ((deployment["spec"].get("selector") or {}).get("matchLabels")) or {}
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    what = f"pods of Deployment {namespace}/{deployment['metadata']['name']}"
    return reader.list(Area.SERVER, what, kube.path("v1", "pods", namespace), labels=selector) or ()


def _with_certificates(reader: Reader, namespace: str, found: Installation) -> Installation:
    """The same with the Secret of the served certificate; its key is dropped at once."""
    deployment = found.deployment or {}
    mounted = [
        volume["secret"]["secretName"]
        for volume in (deployment["spec"]["template"]["spec"].get("volumes") or () if deployment else ())
        if "secret" in volume
    ]
    named = settings.flag(arguments(deployment), "cert-secret") if deployment else ""
    for name in dict.fromkeys(filter(None, [named, *mounted, names.CERT_SECRET])):
        secret = reader.find(Area.SECRET, f"Secret {namespace}/{name}", kube.path("v1", "secrets", namespace, name))
        if secret is None:
            return replace(found, secret_name=name)
        data = secret.get("data") or {}
        if "tls.crt" in data:
            certificates = {key: _decoded(data[key]) for key in CERTIFICATES if data.get(key)}
            issued = CERT_MANAGER in (secret["metadata"].get("annotations") or {})
            return replace(found, secret_name=name, certificates=certificates, by_cert_manager=issued)
    return replace(found, secret_name=named or names.CERT_SECRET, certificates={})


def _decoded(text: str) -> bytes:
    try:
        return b64decode(text)
    except binascii.Error:
        return b""
