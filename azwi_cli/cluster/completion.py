"""Completion of values in a shell: contexts of the kubeconfig, namespaces and objects of the cluster.

A shell waits for it, so it is quick, and without an answer it offers nothing.
"""

# ruff: noqa: PLC0415  a shell completes flags without the Kubernetes client

import os
from collections.abc import Callable
from typing import Final

import click

from azwi_cli.cluster import kubeconfig
from azwi_cli.console.errors import CommandError

# A person who pressed the tab key waits no longer.
TIMEOUT_SECONDS: Final = 2.0
MAX_OFFERED: Final = 200
Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def contexts(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """The contexts of the kubeconfig."""
    files = context.params.get("kubeconfig") or os.environ.get("KUBECONFIG") or kubeconfig.DEFAULT
    try:
        names = kubeconfig.read(files).contexts
    except CommandError:
        return []
    return [name for name in names if name.startswith(incomplete)]


def namespaces(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """The namespaces of the cluster."""
    return _listed(context, "namespaces", "", incomplete)


def named(plural: str) -> Complete:
    """Completes the names of a kind of the core API in the command's namespace."""

    def complete(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
        namespace = context.params.get("namespace") or context.params.get("service_account_namespace") or ""
        return _listed(context, plural, namespace, incomplete)

    return complete


def _listed(context: click.Context, plural: str, namespace: str, incomplete: str) -> list[str]:
    from azwi_cli.cluster.kube import Cluster, ClusterTarget, path

    params = context.params
    target = ClusterTarget(
        params.get("kubeconfig") or "", params.get("context") or "", namespace, timeout=TIMEOUT_SECONDS
    )
    try:
        cluster = Cluster.connect(target)
        scope = "" if plural == "namespaces" else cluster.namespace
        found = cluster.get(path("v1", plural, scope), limit=str(MAX_OFFERED)).get("items") or ()
    except CommandError:
        return []
    return [name for item in found if (name := item["metadata"]["name"]).startswith(incomplete)]
