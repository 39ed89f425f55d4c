"""Credential plugins of kubeconfigs, run as kubectl runs them.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
"""

import json
import os
import subprocess
import sys
from base64 import b64encode
from typing import Final

from azure_workload_identity.types import JsonObject
from azwi_cli.console.errors import CommandError, one_line

GROUP: Final = "client.authentication.k8s.io"
VERSIONS: Final = (f"{GROUP}/v1", f"{GROUP}/v1beta1")
INTERACTIVE_MODES: Final = ("Never", "IfAvailable", "Always")
# The member of a cluster's extensions that plugins get as `config`.
EXTENSION: Final = f"{GROUP}/exec"


def credentials(plugin: object, cluster: JsonObject) -> JsonObject:
    """A kubeconfig's user with what the plugin issued: `token`, or a client certificate.

    Raises:
        CommandError: when the plugin cannot be run, fails, or issues nothing usable.
    """
    if not isinstance(plugin, dict) or not plugin.get("command"):
        raise CommandError("the user's credential plugin has no command", "see users[].user.exec in the kubeconfig")
    version = plugin.get("apiVersion")
    if version not in VERSIONS:
        raise CommandError(
            f"credential plugin {plugin['command']}: apiVersion {version!r} is not {' or '.join(VERSIONS)}",
            "write the kubeconfig again with a current tool; for AKS: kubelogin convert-kubeconfig",
        )
    status = _status(_run(plugin, cluster), plugin)
    if token := status.get("token"):
        return {"token": str(token)}
    certificate, key = status.get("clientCertificateData"), status.get("clientKeyData")
    if certificate and key:
        return {"client-certificate-data": _base64(certificate), "client-key-data": _base64(key)}
    raise CommandError(
        f"credential plugin {plugin['command']} issued neither a token nor a client certificate with its key",
        "log in again with it",
    )


def _run(plugin: JsonObject, cluster: JsonObject) -> str:
    """What the plugin prints. Its stderr goes to the terminal, if there is one: it may ask to log in there."""
    interactive = _is_interactive(plugin)
    command = [str(plugin["command"]), *map(str, plugin.get("args") or ())]
    variables = {str(entry["name"]): str(entry.get("value", "")) for entry in plugin.get("env") or ()}
    environment = {**os.environ, **variables, "KUBERNETES_EXEC_INFO": json.dumps(_info(plugin, cluster, interactive))}
    try:
        done = subprocess.run(  # noqa: S603  the program that the user's own kubeconfig names
            command,
            env=environment,
            stdin=None if interactive else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if interactive else subprocess.PIPE,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        hint = str(plugin.get("installHint") or "").strip() or "install it, or add its directory to PATH"
        raise CommandError(f"credential plugin {command[0]} is not installed", hint) from error
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"credential plugin {command[0]} cannot be run: {one_line(error)}") from error
    if done.returncode:
        said = one_line(done.stderr or "")
        how = f"with exit status {done.returncode}" if done.returncode > 0 else f"by signal {-done.returncode}"
        reason = f": {said}" if said else ""
        raise CommandError(
            f"credential plugin {command[0]} ended {how}{reason}", f"log in again, and try {' '.join(command)}"
        )
    return done.stdout


def _is_interactive(plugin: JsonObject) -> bool:
    """Whether the plugin may ask on the terminal.

    Raises:
        CommandError: when it must, and there is none.
    """
    mode = plugin.get("interactiveMode") or "IfAvailable"
    if mode not in INTERACTIVE_MODES:
        raise CommandError(
            f"credential plugin {plugin['command']}: interactiveMode {mode!r} is not one of "
            f"{', '.join(INTERACTIVE_MODES)}"
        )
    terminal = sys.stdin is not None and sys.stdin.isatty()
    if mode == "Always" and not terminal:
        raise CommandError(
            f"credential plugin {plugin['command']} must ask on a terminal, and there is none",
            "run this in a terminal, or use a login that needs none",
        )
    return terminal and mode != "Never"


def _info(plugin: JsonObject, cluster: JsonObject, interactive: bool) -> JsonObject:  # noqa: FBT001  one call
    spec: JsonObject = {"interactive": interactive}
    if plugin.get("provideClusterInfo"):
        passed = ("server", "tls-server-name", "insecure-skip-tls-verify", "certificate-authority-data", "proxy-url")
        spec["cluster"] = {key: cluster[key] for key in passed if key in cluster}
        for entry in cluster.get("extensions") or ():
            if entry.get("name") == EXTENSION:
                spec["cluster"]["config"] = entry.get("extension")
    return {"apiVersion": plugin["apiVersion"], "kind": "ExecCredential", "spec": spec}


def _status(printed: str, plugin: JsonObject) -> JsonObject:
    """The status of the ExecCredential; what was printed may be a secret and is not shown."""
    try:
        issued = json.loads(printed)
    except ValueError:
        issued = None
    if not isinstance(issued, dict) or issued.get("kind") != "ExecCredential":
        raise CommandError(
            f"credential plugin {plugin['command']} printed no ExecCredential", "is it the right program?"
        )
    if issued.get("apiVersion") != plugin["apiVersion"]:
        raise CommandError(
            f"credential plugin {plugin['command']} answered with apiVersion {issued.get('apiVersion')!r} instead of "
            f"{plugin['apiVersion']}",
            "the kubeconfig and the plugin are of different times: update one of them",
        )
    status = issued.get("status")
    return status if isinstance(status, dict) else {}


def _base64(pem: object) -> str:
    return b64encode(str(pem).encode()).decode()
