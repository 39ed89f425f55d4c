"""`azwi run`: one command with the identity that the pods of a ServiceAccount get."""

# ruff: noqa: PLC0415  help texts do without the proxy's process

import os
import secrets
import shlex
import shutil
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final

import click

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.azure.options import target
from azwi_cli.cluster.kube import Cluster, ClusterTarget
from azwi_cli.commands.local import options
from azwi_cli.commands.local.identity import PodIdentity, resolve
from azwi_cli.commands.local.process import Signals
from azwi_cli.commands.local.token import Renewal, TokenFile, check_allowed, request_token
from azwi_cli.console import output

ENV_RUNTIME: Final = "XDG_RUNTIME_DIR"


@click.command("run", context_settings={"allow_interspersed_args": False})
@options.identity_options
@click.option(
    "--proxy", is_flag=True, help="Serve a local IMDS endpoint too, for apps that only know managed identity."
)
@click.option("--dry-run", is_flag=True, help="Run nothing and create no token; print what would be set and run.")
@options.dry_run_format
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD [ARGUMENT]...")
@click.pass_context
def command(context: click.Context, /, words: tuple[str, ...], **given: Any) -> None:  # noqa: ANN401  click's
    """Run CMD on this machine with the identity that the pods of a ServiceAccount get.

    A token of the ServiceAccount is in a private file, which is renewed while CMD runs and removed after it. CMD gets
    the variables that the webhook injects, and none of your own logins to Azure. You need permission to create tokens
    of the ServiceAccount. Signals are passed on.

    Exit status: CMD's own, 128 and the signal's number where a signal ended it; 126 or 127 where CMD cannot be run;
    else 1 or 2.

    \b
    azwi run -n shop --service-account web -- python app.py
    azwi run -n shop --service-account web --proxy -- ./legacy-app
    """  # noqa: D301  click reads the mark as: do not wrap
    with Signals() as signals, ExitStack() as made, closing(signals):
        with output.progress("reading the ServiceAccount"):
            cluster = Cluster.connect(ClusterTarget(given["kubeconfig"], given["context"], given["namespace"]))
            identity = resolve(cluster, given["service_account"], given, target(given).cloud(os.environ))
            if given["dry_run"]:
                check_allowed(cluster, identity)
        if given["dry_run"]:
            document = _planned(identity, words, proxy=given["proxy"])
            output.write(document, given["output_format"], lambda: _text(document))
            return
        status = _run(made, signals, Renewal(
            lambda: request_token(cluster, identity), TokenFile(_private_directory(made) / names.TOKEN_FILE),
            given["renew_every"], output.warn,
        ), identity, words, proxy=given["proxy"])  # fmt: skip
    context.exit(status)


def _run(
    made: ExitStack, signals: Signals, renewal: Renewal, identity: PodIdentity, words: tuple[str, ...], *, proxy: bool
) -> int:
    """Run the command while the token is renewed; its exit status."""
    made.callback(renewal.close)
    renewal.start()
    environ, _ = options.environment(os.environ, identity.variables(str(renewal.path)))
    if proxy:
        from azwi_cli.commands.local import imds

        environ[names.ENV_POD_IDENTITY_HOST] = made.enter_context(imds.endpoint(environ, signals))
    return signals.run(words, environ)


def _private_directory(made: ExitStack) -> Path:
    """A directory that only this user can look into, where there is one in memory, until the end."""
    runtime = os.environ.get(ENV_RUNTIME, "")
    base = runtime if runtime and os.access(runtime, os.W_OK | os.X_OK) else tempfile.gettempdir()
    directory = Path(base) / f"azwi-{secrets.token_hex(8)}"
    made.callback(shutil.rmtree, directory, ignore_errors=True)
    directory.mkdir(mode=0o700)
    return directory


def _planned(identity: PodIdentity, words: tuple[str, ...], *, proxy: bool) -> JsonObject:
    variables = identity.variables(f"a private directory/{names.TOKEN_FILE}")
    if proxy:
        variables[names.ENV_POD_IDENTITY_HOST] = "http://127.0.0.1:a free port/"
    return {
        "serviceAccount": f"{identity.namespace}/{identity.service_account}",
        "audience": identity.audience,
        "tokenSeconds": identity.seconds,
        "variables": variables,
        "leftOut": options.environment(os.environ, variables)[1],
        "command": list(words),
    }


def _text(document: JsonObject) -> str:
    rows: list[tuple[str, object]] = [
        ("ServiceAccount", document["serviceAccount"]),
        ("audience", document["audience"]),
    ]
    rows += [("token lives", f"{document['tokenSeconds']} s"), *document["variables"].items()]
    rows += [(name, "(left out)") for name in document["leftOut"]]
    rows += [("command", shlex.join(document["command"]))]
    return output.table(("what", "value"), rows)
