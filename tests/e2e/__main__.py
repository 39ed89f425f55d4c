"""`make node`: the node, the image and Azure's side in the foreground, to try things by hand."""

import argparse
import json
import logging
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
ACCOUNT: Final = "app"
PROGRESS_SECONDS: Final = 10.0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make node", description="Run a Kubernetes node with an emulated Microsoft Entra beside it until Ctrl-C."
    )
    parser.add_argument(
        "--trust",
        action="append",
        default=[],
        type=_account,
        metavar="NAMESPACE/NAME",
        help="a further ServiceAccount that both identities trust; repeatable (default/app is trusted anyway)",
    )
    parser.add_argument(
        "--image",
        action="append",
        default=[],
        type=Path,
        metavar="ARCHIVE",
        help="a docker-archive to put on the node beside this project's image; repeatable",
    )
    return parser.parse_args(arguments)


def _account(text: str) -> tuple[str, str]:
    namespace, slash, name = text.partition("/")
    if not (namespace and slash and name):
        raise argparse.ArgumentTypeError(f"{text} is not NAMESPACE/NAME")
    return namespace, name


def main(arguments: Sequence[str]) -> int:
    """Run until a signal; the exit status is 1 if it cannot start."""
    options = _options(arguments)
    if lacking := missing():
        return _fail("\n".join(lacking))
    logging.basicConfig(level=logging.INFO, format="make node: %(message)s")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        with tempfile.TemporaryDirectory(prefix="azwi-node-") as directory:
            with _progress("building the image"):
                image = build.build_image()
            print("make node: starting the node", flush=True)  # noqa: T201  a program's output
            with stage(image, Path(directory)) as running:
                for archive in options.image:
                    running.node.add_image(archive.absolute())
                for account in ((NAMESPACE, ACCOUNT), *options.trust):
                    running.azure.trust(*account)
                _write_app(running, Path(directory))
                print(_introduction(running, Path(directory)), flush=True)  # noqa: T201  a program's output
                stop.wait()
                print("make node: ending the node", flush=True)  # noqa: T201  a program's output
    except (NodeError, RuntimeError) as error:
        return _fail(str(error))
    return 0


@contextmanager
def _progress(text: str) -> Iterator[None]:
    """Print every PROGRESS_SECONDS how long the block has been running."""
    done, begun = threading.Event(), time.monotonic()

    def report() -> None:
        while not done.wait(PROGRESS_SECONDS):
            print(f"make node: still {text}, {time.monotonic() - begun:.0f} s", flush=True)  # noqa: T201  a program's output

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _fail(text: str) -> int:
    print("\n".join(f"make node: {line}" for line in text.splitlines()), file=sys.stderr)  # noqa: T201  a program's output
    return 1


def _write_app(running: Stage, directory: Path) -> None:
    account = named("ServiceAccount", ACCOUNT, "v1")
    account["metadata"]["annotations"] = {names.CLIENT_ID: CLIENT_ID}
    objects = [
        account,
        named("ConfigMap", CONFIGMAP, "v1", data=files(running.azure)),
        pod("app", app("workload-identity", "default")),
    ]
    (directory / "app.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}, indent=2))


def _introduction(running: Stage, directory: Path) -> str:
    repository, _, tag = build.NAME.rpartition(":")
    return f"""A Kubernetes node with an emulated Microsoft Entra beside it, until Ctrl-C

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

Another image, as a docker-archive:

  ctr --address={running.node.directory}/containerd.sock --namespace=k8s.io images import IMAGE.tar
"""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
