"""Every kind of workload gets its token, readable by an ordinary user."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from testbed.cluster.control_plane import UNTIL_TIMEOUT
from testbed.pods import CLIENT_ID
from tests.cluster.support.node.configuration import ISSUER
from tests.cluster.support.release import Release
from tests.e2e import look
from tests.e2e.report import timed
from tests.e2e.workloads import UID, Workloads, job, looker, named, pod, template

LABELS: Final = {names.USE_LABEL: "true"}


def assert_sees_its_token(output: str, workloads: Workloads, account: str = "app") -> None:
    """Check that an ordinary user on a read-only root read the account's token at both paths."""
    found: JsonObject = json.loads(output)
    assert (found["uid"], found["writable"]) == (UID, False)
    assert list(found["tokens"]) == list(look.PATHS)
    for claims in found["tokens"].values():
        assert claims["iss"] == ISSUER
        assert claims["sub"] == f"system:serviceaccount:{workloads.namespace}:{account}"
        assert claims["aud"] == [names.DEFAULT_AUDIENCE]
        assert claims["exp"] - claims["iat"] == 3600


def controlled(kind: str, **spec: Any) -> JsonObject:  # noqa: ANN401  fields of the spec
    """Write an object that keeps labelled pods."""
    made = template(looker("--stay"), labels={**LABELS, "app": kind.lower()})
    selector = {"matchLabels": {"app": kind.lower()}}
    return named(kind, kind.lower(), "apps/v1", spec={"selector": selector, "template": made, **spec})


@pytest.mark.parametrize(
    "manifest",
    [
        controlled("Deployment", replicas=2),
        controlled("StatefulSet", serviceName="none", replicas=1),
        controlled("DaemonSet"),
    ],
    ids=lambda manifest: manifest["kind"],
)
def test_controllers(restricted: Workloads, manifest: JsonObject) -> None:
    """Pods that a controller makes of a labelled template read their token."""
    with timed(f"{manifest['kind']} to ready pods"):
        output = restricted.roll_out(manifest)
    assert_sees_its_token(output, restricted)
    restricted.kubectl("delete", manifest["kind"], manifest["metadata"]["name"], "--wait=false")


def test_bare_pod(restricted: Workloads) -> None:
    """A pod that nobody controls reads its token."""
    with timed("bare pod to its end"):
        output = restricted.finish(pod("bare", looker()))
    assert_sees_its_token(output, restricted)


def test_cron_job(restricted: Workloads) -> None:
    """The pod of a Job that is made of a CronJob reads its token, and the Job completes."""
    spec = {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": job("", template(looker()))["spec"]}}
    restricted.create(named("CronJob", "nightly", "batch/v1", spec=spec))
    with timed("CronJob's Job to its end"):
        restricted.kubectl("create", "job", "tonight", "--from=cronjob/nightly")
        restricted.kubectl("wait", "--for=condition=Complete", "job/tonight", UNTIL_TIMEOUT)
    assert_sees_its_token(restricted.kubectl("logs", "job/tonight"), restricted)


def spiceai_chart(directory: Path) -> Path:
    """Make a chart as Spice.ai's: annotations are for the ServiceAccount only, and nothing labels the pods."""
    labels = {"app.kubernetes.io/name": "spiceai"}
    made = template(looker("--stay"), labels=labels, serviceAccountName="spiceai")
    annotations = {names.CLIENT_ID: "{{ .Values.clientId }}"}
    account = named("ServiceAccount", "spiceai", "v1")
    account["metadata"]["annotations"] = annotations
    spec = {"serviceName": "spiceai", "selector": {"matchLabels": labels}, "template": made}
    objects = {
        "apiVersion": "v1",
        "kind": "List",
        "items": [account, named("StatefulSet", "spiceai", "apps/v1", spec=spec)],
    }
    (directory / "templates").mkdir(parents=True)
    (directory / "Chart.yaml").write_text(json.dumps({"apiVersion": "v2", "name": "spiceai", "version": "1.0.0"}))
    (directory / "templates" / "all.yaml").write_text(json.dumps(objects))
    return directory


def test_annotated_account_alone(release: Release, restricted: Workloads, tmp_path: Path) -> None:
    """A Helm release whose ServiceAccount alone is annotated takes part, by the opt-in `service-account`."""
    chart = spiceai_chart(tmp_path / "spiceai")
    where = f"--namespace={restricted.namespace}"
    with timed("Spice.ai-shaped release to a ready pod"):
        done = release.helm("install", "spiceai", str(chart), where, f"--set=clientId={CLIENT_ID}")
        assert done.returncode == 0, done.stderr
        restricted.kubectl("rollout", "status", "statefulset/spiceai", UNTIL_TIMEOUT)
    assert_sees_its_token(restricted.logs("spiceai-0"), restricted, "spiceai")
    release.helm("uninstall", "spiceai", where)
