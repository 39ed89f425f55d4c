"""A running pod exchanges the token that the kubelet has renewed.

The API server issues no token for less than ten minutes, and the kubelet renews one at 80 % of its life. A kubelet that
was restarted has no tokens in its memory: it asks for a new one and writes it into the volume of the running pod, as
it does when one has aged.
"""

import json
import time

from azure_workload_identity import names
from testbed.cluster.server import wait_until_true
from tests.cluster.support.node.node import Node
from tests.e2e.azure import Azure
from tests.e2e.report import note
from tests.e2e.test_tokens import ENVIRONMENT, MANAGED_IDENTITY_ALONE
from tests.e2e.workloads import FILES, Workloads, container, pod
from tests.support.azure_app import Tokens

READ = f"print(open('{names.DOCUMENTED_DIRECTORY}/{names.TOKEN_FILE}').read(), end='')"


def test_renewed_token(node: Node, restricted: Workloads, azure: Azure) -> None:
    """The proxy exchanges the renewed token for what it is asked next; neither proxy nor app was restarted."""
    staying = container(f"{FILES}/look.py", "--stay", env=MANAGED_IDENTITY_ALONE)
    restricted.create(pod("renewed", staying, annotations=ENVIRONMENT))
    restricted.kubectl("wait", "--for=condition=Ready", "pod/renewed", "--timeout=45s")

    def execute(*command: str) -> str:
        return restricted.kubectl("exec", "renewed", "--container=app", "--", "python3", *command)

    def exchanged(resource: str) -> str:
        tokens = Tokens(**json.loads(execute(f"{FILES}/azure_app.py", resource, "managed-identity")))
        assert tokens.errors == {}
        return azure.entra.exchanges[-1].assertion

    def file() -> str:
        done = restricted.cluster.kubectl(
            f"--namespace={restricted.namespace}", "exec", "renewed", "--container=app", "--", "python3", "-c", READ
        )
        return done.stdout if done.returncode == 0 else first  # the kubelet is starting

    first = execute("-c", READ)
    assert exchanged("https://vault.azure.net") == first

    begun = time.monotonic()
    node.restart_kubelet()
    wait_until_true(lambda: file() != first, "the kubelet has renewed the token", 60)
    note(f"{time.monotonic() - begun:7.2f} s  restart of the kubelet to a renewed token in a running pod")

    second = file()
    assert exchanged("https://storage.azure.com") == second != first
    stored = json.loads(restricted.kubectl("get", "pod", "renewed", "--output=json"))
    statuses = [*stored["status"]["containerStatuses"], *stored["status"]["initContainerStatuses"]]
    assert [status["restartCount"] for status in statuses] == [0, 0]
    restricted.kubectl("delete", "pod", "renewed", "--wait=false")
