"""Draws two runs of `azwi doctor` for the manual: on a healthy and on a broken cluster, both real API servers.

`python -m scripts.write_transcripts` starts kube-apiserver (make cluster-tools) and the webhook, runs the doctor on a
terminal, and writes what it printed as SVG.
"""

import io
import os
import pty
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from azure_workload_identity import names
from testbed.cluster.control_plane import ControlPlane, Programs, control_plane
from testbed.cluster.manifests import CLIENT_ID, USE, pod
from testbed.cluster.server import install_account, register, scope, serving

DIRECTORY: Final = Path(__file__).resolve().parent.parent / "docs" / "operate"
COLUMNS: Final = 110
NAMESPACE: Final = "shop"
_SHOWN: Final = "azwi doctor --namespace shop"


def main() -> None:
    """Draw both."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), Programs.find()) as plane:
        web = deployment("web", dict(USE))
        plane.create_service_account(NAMESPACE, "app", {names.CLIENT_ID: CLIENT_ID})
        plane.apply(web)
        plane.create_pod(NAMESPACE, pod(serviceAccountName="app"))
        draw(plane, "doctor-healthy.svg", "a healthy cluster")
        plane.create_service_account(NAMESPACE, "orders", {"azure.workload.identity/client_id": CLIENT_ID})
        plane.apply(deployment("orders", dict(USE), "orders"), deployment("api", {}), bounds())
        plane.apply(deployment("legacy", dict(USE), "app", {names.INJECT_PROXY: "true"}))
        draw(plane, "doctor-broken.svg", "a broken cluster")


@contextmanager
def running(folder: Path, found: Programs) -> Iterator[ControlPlane]:
    """Run an API server with the webhook, and a namespace that it gets the pods of."""
    for name in ("plane", "webhook"):
        (folder / name).mkdir()
    with control_plane(found, folder / "plane") as plane, serving(install_account(plane), folder / "webhook") as server:
        register(plane, server, "main")
        labels = scope("main")
        metadata = {"name": NAMESPACE, "labels": labels}
        plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        yield plane


def deployment(
    name: str, labels: dict[str, str], account: str = "app", annotations: dict[str, str] | None = None
) -> dict[str, object]:
    """A Deployment of the namespace."""
    template = pod(labels={"app": name, **labels}, annotations=annotations, serviceAccountName=account)
    del template["metadata"]["name"]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": template["metadata"], "spec": template["spec"]},
        },
    }


def bounds() -> dict[str, object]:
    """A LimitRange that the proxy does not meet."""
    limits = [{"type": "Container", "min": {"cpu": "100m", "memory": "90Mi"}}]
    metadata = {"name": "bounds", "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "LimitRange", "metadata": metadata, "spec": {"limits": limits}}


def draw(plane: ControlPlane, file: str, title: str) -> None:
    """Run the doctor on a terminal and write the picture."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(f"$ {_SHOWN}", highlight=False)
    console.print(Text.from_ansi(on_terminal(plane).replace(f" --kubeconfig={plane.kubeconfig}", "")))
    svg = console.export_svg(title=f"azwi doctor: {title}")
    # The fonts of the reader's system do, and the picture loads nothing.
    (DIRECTORY / file).write_text(re.sub(r"@font-face \{.*?\}\s*|<!--.*?-->\s*", "", svg, flags=re.DOTALL))


def on_terminal(plane: ControlPlane) -> str:
    """What the doctor prints on a terminal."""
    near, far = pty.openpty()
    environment = {
        **os.environ,
        "COLUMNS": str(COLUMNS),
        "LINES": "50",
        "TERM": "xterm-256color",
        "HOME": "/nonexistent",
    }
    environment.pop("NO_COLOR", None)
    command = [sys.executable, "-m", "azwi_cli", "doctor", "--kubeconfig", str(plane.kubeconfig), "-n", NAMESPACE]
    with subprocess.Popen(command, stdout=far, stderr=subprocess.DEVNULL, env=environment) as process:  # noqa: S603  this project's program
        os.close(far)
        printed = b"".join(iter(lambda: _read(near), b""))
    os.close(near)
    if process.returncode not in {0, 1}:
        raise SystemExit(f"azwi doctor ended with {process.returncode}")
    return printed.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # the other end is closed
        return b""


if __name__ == "__main__":
    main()
