"""Certificates are replaced while pods are created."""

import base64
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from azure_workload_identity import names
from certs.secret_keys import CA
from testbed.cluster.control_plane import Cluster
from testbed.cluster.server import wait_until_true
from testbed.processes import MAX_WAIT_SECONDS
from tests.cluster.support.release import FULLNAME, Release
from tests.cluster.test_chart_modes import secret, taking_certificates
from tests.e2e.installed import installed, pods, values, wait
from tests.e2e.report import note
from tests.e2e.test_upgrades import creating, gone, names_of

ROTATIONS = 3
LONGEST = 180.0
OWN = "mine"


def served(release: Release) -> set[str]:
    """Return the certificates that the pods present, PEM."""
    addresses = [pod["status"]["podIP"] for pod in pods(release)]
    return {
        ssl.get_server_certificate((address, names.WEBHOOK_PORT), timeout=MAX_WAIT_SECONDS) for address in addresses
    }


def test_self_managed_rotation(cluster: Cluster, tmp_path: Path) -> None:
    """While the server replaces its CA three times and its certificate more often, no creation fails."""
    # A CA is announced with a third of its life left: every 16 s.
    lifetimes = {"caLifetime": "24s", "lifetime": "12s"}
    authorities: set[str] = set()
    leaves: set[str] = set()
    with installed(cluster, tmp_path, certificates=lifetimes) as release:
        with creating(release, f"{ROTATIONS} rotations of CA and certificate") as created:
            deadline = time.monotonic() + LONGEST
            while len(authorities) <= ROTATIONS and time.monotonic() < deadline:
                authorities.add(release.get("secret", f"{FULLNAME}-server-cert")["data"][CA])
                leaves |= served(release)
                time.sleep(0.5)
        note(f"certificates that were served meanwhile: {len(leaves)}, of {len(authorities)} CAs")
    assert created.failures == []
    assert len(authorities) > ROTATIONS
    assert len(leaves) > ROTATIONS


@pytest.fixture
def cert_manager_kinds(cluster: Cluster) -> Iterator[None]:
    """Have the kinds of cert-manager."""
    with taking_certificates(cluster):
        yield


@pytest.mark.usefixtures("cert_manager_kinds")
def test_cert_manager(cluster: Cluster, tmp_path: Path) -> None:
    """In cert-manager mode pods start once the Secret is there, and take three renewals from it without a failure."""
    release = Release(cluster, cluster.create_namespace(), tmp_path)
    authority = trustme.CA()
    host = f"{FULLNAME}.{release.namespace}.svc"
    release.apply("install", **values(certificates__mode="cert-manager"))
    asked = release.get("certificate")["spec"]
    assert asked["dnsNames"][0] == host

    cluster.create(release.namespace, secret(asked["secretName"], authority, *asked["dnsNames"]))
    inject(release, authority)
    wait(release)
    with creating(release, f"{ROTATIONS} renewals in cert-manager mode") as created:
        for _ in range(ROTATIONS):
            renewed = secret(asked["secretName"], authority, *asked["dnsNames"])
            path = f"/api/v1/namespaces/{release.namespace}/secrets/{asked['secretName']}"
            patch = {"data": renewed["data"]}
            cluster.request("PATCH", path, patch, content_type="application/merge-patch+json")
            (leaf,) = [base64.b64decode(renewed["data"]["tls.crt"]).decode()]
            begun = time.monotonic()
            wait_until_true(lambda leaf=leaf: same(served(release), leaf), "both pods serve it")  # type: ignore[misc]
            note(f"{time.monotonic() - begun:7.2f} s  renewed Secret to both pods serving it")
    release.helm("uninstall", release.name)
    assert created.failures == []


def same(found: set[str], leaf: str) -> bool:
    """Whether that certificate is the only one found."""
    return {"".join(item.split()) for item in found} == {"".join(leaf.split())}


def inject(release: Release, authority: trustme.CA) -> None:
    """Write the caBundle, as cert-manager's cainjector does."""
    bundle = base64.b64encode(authority.cert_pem.bytes()).decode()
    name = release.configuration()["metadata"]["name"]
    release.control_plane.request(
        "PATCH",
        f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{name}",
        [{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": bundle}],
        content_type="application/json-patch+json",
    )


def test_switch_to_mounted_and_back(cluster: Cluster, tmp_path: Path) -> None:
    """An upgrade to a mounted Secret fails no creation, and neither does one back to certificates of the server's."""
    authority = trustme.CA()
    mounted = {"mode": "existing-secret", "secretName": OWN, "caBundle": authority.cert_pem.bytes().decode()}
    with installed(cluster, tmp_path) as release:
        cluster.create(release.namespace, secret(OWN, authority, f"{FULLNAME}.{release.namespace}.svc"))
        with creating(release, "self-managed to mounted") as there:
            switch(release, mounted)
        with creating(release, "mounted to self-managed") as back:
            switch(release, {"mode": "self-managed"})
    assert there.failures == []
    assert back.failures == []


def switch(release: Release, certificates: dict[str, str]) -> None:
    """Upgrade to other certificates, and wait until no pod with the former ones is left.

    The server owns the caBundle by now, so Helm 4, which applies server-side, needs --force-conflicts.
    """
    before = names_of(pods(release))
    release.apply("upgrade", "--force-conflicts", **values(certificates=certificates))
    wait(release)
    gone(release, before)
