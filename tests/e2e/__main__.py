"""`make node`: the node, the image and Azure's side in the foreground, for a walk by hand."""

import json
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Final

from azure_workload_identity import names
from testbed import tools
from testbed.cluster.server import TENANT_ID
from testbed.pods import CLIENT_ID
from tests.cluster.support.node.node import NodeError
from tests.e2e.needs import missing
from tests.e2e.stage import Stage, stage
from tests.e2e.workloads import CONFIGMAP, app, files, named, pod
from tests.image import build

NAMESPACE: Final = "default"


def main() -> int:
    """Run until a signal; the exit status is 1 if it cannot start."""
    if lacking := missing():
        return _fail("\n".join(lacking))
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        with tempfile.TemporaryDirectory(prefix="azwi-node-") as directory:
            _say("building the image if it has changed, then starting the node ...")
            with stage(build.build_image(), Path(directory)) as running:
                running.azure.trust(NAMESPACE)
                _write_app(running, Path(directory))
                _say(_introduction(running, Path(directory)))
                stop.wait()
    except (NodeError, RuntimeError) as error:
        return _fail(str(error))
    return 0


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  a program's output


def _fail(text: str) -> int:
    print("\n".join(f"make node: {line}" for line in text.splitlines()), file=sys.stderr)  # noqa: T201  a program's output
    return 1


def _write_app(running: Stage, directory: Path) -> None:
    account = named("ServiceAccount", "app", "v1")
    account["metadata"]["annotations"] = {names.CLIENT_ID: CLIENT_ID}
    objects = [
        account,
        named("ConfigMap", CONFIGMAP, "v1", data=files(running.azure)),
        pod("app", app("workload-identity", "default")),
    ]
    (directory / "app.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}, indent=2))


def _introduction(running: Stage, directory: Path) -> str:
    repository, _, tag = build.NAME.rpartition(":")
    return f"""A Kubernetes node with Microsoft Entra, emulated, beside it, until Ctrl-C

In another terminal, in this folder:

  export KUBECONFIG={running.node.cluster.kubeconfig} PATH={tools.folder()}:$PATH
  helm install azwi charts/workload-identity-webhook --namespace azwi-system --create-namespace \\
    --set azureTenantID={TENANT_ID} \\
    --set image.repository={repository},image.release={tag} \\
    --set proxy.caConfigMap={CONFIGMAP}
  kubectl -n azwi-system rollout status deployment/azwi-workload-identity-webhook
  kubectl apply -f {directory / "app.json"}
  kubectl wait --for=jsonpath='{{.status.phase}}'=Succeeded pod/app
  kubectl logs app
"""


if __name__ == "__main__":
    sys.exit(main())
