"""The flags that name a cluster, a namespace, and how long a request may take."""

import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from azwi_cli.cluster import completion
from azwi_cli.cluster.kube import TIMEOUT_KEY, TIMEOUT_SECONDS
from azwi_cli.console.option_types import Duration

MAX_LABEL: Final = 63
MAX_NAME: Final = 253
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", re.ASCII)

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def options(command: Decorated) -> Decorated:
    """Add --kubeconfig, --context and --namespace to a command, as parameters of those names."""
    return cluster_options(namespace_option("Namespace; default: the context's.")(command))


def namespace_option(text: str) -> Callable[[Decorated], Decorated]:
    """Add --namespace with its help text; a value that cannot be a namespace is refused before any request."""
    return click.option(
        "--namespace",
        "-n",
        metavar="NAME",
        default="",
        callback=checked_name,
        shell_complete=completion.namespaces,
        help=text,
    )


def checked_name(_: click.Context, parameter: click.Parameter, value: str) -> str:
    """The name of a namespace, pod or ServiceAccount, if it can be one; v1.6.0 takes `-n=NAME`, too."""
    name = value.removeprefix("=")
    of_namespace = "namespace" in (parameter.name or "")
    longest, dot = (MAX_LABEL, "") if of_namespace else (MAX_NAME, ", '.'")
    if (name and not (len(name) <= longest and _NAME.fullmatch(name))) or (of_namespace and "." in name):
        raise click.BadParameter(
            f"{name!a} cannot be its name in Kubernetes (RFC 1123), which has at most {longest} of: "
            f"lower case letters, digits{dot}, '-'"
        )
    return name


def cluster_options(command: Decorated) -> Decorated:
    """Add --kubeconfig and --context to a command whose namespace is given otherwise."""
    timeout = click.option(
        "--request-timeout",
        type=Duration(),
        default=f"{TIMEOUT_SECONDS:.0f}s",
        show_default=True,
        expose_value=False,
        callback=_keep_timeout,
        help="How long one request to the API server may take.",
    )
    context = click.option(
        "--context",
        metavar="NAME",
        default="",
        shell_complete=completion.contexts,
        help="Context of the kubeconfig; default: its current one.",
    )
    file = click.option(
        "--kubeconfig",
        default="",
        type=click.Path(dir_okay=False),
        help="Kubeconfig; default: KUBECONFIG, ~/.kube/config, or in a pod its ServiceAccount.",
    )
    return file(context(timeout(command)))


def _keep_timeout(context: click.Context, _: click.Parameter, seconds: float) -> None:
    """Keep it for the command's ClusterTarget: click's own place for what all parts of a command need."""
    if seconds <= 0:
        raise click.BadParameter("it must be longer than 0s")
    context.meta[TIMEOUT_KEY] = seconds
