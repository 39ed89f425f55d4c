"""A running pod exchanges the token that the kubelet has renewed.

The API server issues no token for less than ten minutes, and the kubelet renews one at 80 % of its life. A kubelet that
was restarted has no tokens in its memory: it asks for a new one and writes it into the volume of the running pod, as
it does when one has aged.
"""

import json
import time

from azure_workload_identity import names
from testbed.cluster.control_plane import UNTIL_TIMEOUT
from testbed.cluster.server import wait_until_true
from testbed.processes import until
from tests.cluster.support.node.node import Node
from tests.e2e.azure import Azure
from tests.e2e.report import note
from tests.e2e.test_tokens import ENVIRONMENT, MANAGED_IDENTITY_ALONE
from tests.e2e.workloads import FILES, Workloads, container, pod
from tests.support.azure_app import Tokens

PATHS = (
    f"{names.DOCUMENTED_DIRECTORY}/{names.TOKEN_FILE}",
    f"{names.V160_DIRECTORY}/{names.V160_TOKEN_FILE}",
)
READ = f"print(*(open(path).read() for path in {PATHS}))"


def test_renewed_token(node: Node, restricted: Workloads, azure: Azure) -> None:
    """The proxy exchanges the renewed token for what it is asked next; neither proxy nor app was restarted."""
    staying = container(f"{FILES}/look.py", "--stay", env=MANAGED_IDENTITY_ALONE)
    restricted.create(pod("renewed", staying, annotations=ENVIRONMENT))
    restricted.kubectl("wait", "--for=condition=Ready", "pod/renewed", UNTIL_TIMEOUT)

    def exchanged(resource: str) -> str:
        program = (f"{FILES}/azure_app.py", resource, "managed-identity")
        output = restricted.kubectl("exec", "renewed", "--container=app", "--", "python3", *program)
        tokens = Tokens(**json.loads(output))
        assert tokens.errors == {}
        return azure.entra.exchanges[-1].assertion

    def files() -> list[str]:
        """Read the token at each of PATHS; nothing while the kubelet starts."""
        command = ("exec", "renewed", "--container=app", "--", "python3", "-c", READ)
        done = restricted.cluster.kubectl(f"--namespace={restricted.namespace}", *command)
        return done.stdout.split() if done.returncode == 0 else []

    def only_token() -> str:
        """Return the token of the kubelet's cache once it is at both paths, and nothing before.

        Volumes that it sets up at the same time may each get a token; the next look at the pod writes the cached one.
        """
        found = files()
        return found[0] if len(found) == len(PATHS) and len(set(found)) == 1 else ""

    first = until(only_token)
    assert exchanged("https://vault.azure.net") == first

    begun = time.monotonic()
    node.restart_kubelet()
    wait_until_true(lambda: first not in (found := files()) and found != [], "the kubelet has renewed the token")
    note(f"{time.monotonic() - begun:7.2f} s  restart of the kubelet to a renewed token in a running pod")

    second = until(only_token)
    assert exchanged("https://storage.azure.com") == second != first
    stored = json.loads(restricted.kubectl("get", "pod", "renewed", "--output=json"))
    statuses = [*stored["status"]["containerStatuses"], *stored["status"]["initContainerStatuses"]]
    assert [status["restartCount"] for status in statuses] == [0, 0]
    restricted.kubectl("delete", "pod", "renewed", "--wait=false")
