"""`make run`: the server as it starts without a cluster, and one example pod sent through its own HTTPS endpoint."""

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the server handles it itself: no traceback

import asyncio
import http.client
import json
import os
import ssl
import sys
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import jsonpatch
import uvloop

from azure_workload_identity import logs, names
from azure_workload_identity.kube_yaml import marked, reader
from azure_workload_identity.types import JsonObject
from certs.source import InMemorySource
from webhook.admission.review import pod_creation
from webhook.config.command_line import SettingsError, load
from webhook.config.settings import Settings
from webhook.runtime.components import Components, StartError
from webhook.runtime.factory import create_components
from webhook.runtime.lifecycle import serve
from webhook.runtime.main import USAGE

EXAMPLES: Final = Path("examples")
EXAMPLE: Final = EXAMPLES / "quickstart.yaml"
TENANT: Final = "9d1b6c3e-5a7f-4c2d-8e90-1f2a3b4c5d6e"
FLAGS: Final = (
    f"--service-accounts={EXAMPLES}",
    "--webhook-host=127.0.0.1",
    "--health-addr=127.0.0.1:9440",
    "--metrics-addr=127.0.0.1:8095",
)


def main(arguments: Sequence[str]) -> int:
    """Serve until Ctrl-C; further flags of azwi-webhook may follow."""
    try:
        settings = load([*FLAGS, *arguments], {"AZURE_TENANT_ID": TENANT, **os.environ})
        logs.configure(settings.log_level)
        uvloop.run(_run(settings))
    except (SettingsError, StartError) as error:
        sys.stderr.write(f"{error}\n")
        if isinstance(error, StartError):
            sys.stderr.write("flags follow the program's name: .venv/bin/python -m webhook.runtime.demo FLAG=VALUE\n")
        return USAGE
    return 0


async def _run(settings: Settings) -> None:
    components = await create_components(settings)

    async def show() -> None:
        await asyncio.to_thread(_show, settings, components)

    await serve(settings, components, show)


def _show(settings: Settings, components: Components) -> None:
    pod = _example_pod()
    answer = send(pod, settings.webhook_port, components)
    print(describe(pod, answer) + _next_steps(settings), flush=True)  # noqa: T201  a program


def describe(pod: JsonObject, answer: JsonObject) -> str:
    """The pod as it would be stored, or why it would not, and the warnings that kubectl would print."""
    warnings = "".join(f"Warning: {warning}\n" for warning in answer.get("warnings", ()))
    if not answer["allowed"]:
        return f"\n{EXAMPLE} was refused: {answer['status']['message']}\n{warnings}"
    if "patch" not in answer:
        return f"\n{EXAMPLE} was left as it is ({answer['auditAnnotations']['reason']})\n{warnings}"
    after = jsonpatch.apply_patch(pod, json.loads(b64decode(answer["patch"])))
    text = marked.rendered(pod, after, colour=sys.stdout.isatty())
    heading = f"{EXAMPLE}, as a cluster would store it; lines with + were added by the webhook:"
    return f"\n{heading}\n\n{text}\n{warnings}"


def send(pod: JsonObject, port: int, components: Components) -> JsonObject:
    """The response to the creation of `pod`, as the API server would request it."""
    review = pod_creation(pod, pod["metadata"].get("namespace", "default"), "make-run")
    ca = components.certificates.ca if isinstance(components.certificates, InMemorySource) else None
    context = ssl.create_default_context(cadata=ca)
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=10)
    connection.request("POST", names.MUTATE_PATH, json.dumps(review), {"Content-Type": "application/json"})
    response: JsonObject = json.loads(connection.getresponse().read())["response"]
    connection.close()
    return response


def _example_pod() -> JsonObject:
    documents = (document.value for document in reader.read_file(EXAMPLE))
    return next(value for value in documents if isinstance(value, dict) and value["kind"] == "Pod")


def _next_steps(settings: Settings) -> str:
    return f"""
The webhook serves https://127.0.0.1:{settings.webhook_port}{names.MUTATE_PATH}. What to try next:
  edit {EXAMPLE} (say, the client id) and start again; accounts are read again for every pod
  curl http://127.0.0.1:9440/readyz
  curl http://127.0.0.1:8095/metrics
  .venv/bin/azwi-webhook --help
Ctrl-C ends it.
"""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
