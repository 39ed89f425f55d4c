"""Which cluster a command means: the usual rules of kubeconfigs, by the `kubernetes` package's loader."""

# ruff: noqa: PLC0415  the Kubernetes client is loaded only by commands that talk to a cluster

import os
from pathlib import Path
from typing import Any, Final

from azwi_cli.console.errors import CommandError, one_line

DEFAULT: Final = "~/.kube/config"
_HINT: Final = "name a kubeconfig with --kubeconfig or KUBECONFIG, or a context of it with --context"
IN_CLUSTER_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def load(kubeconfig: str, context: str, configuration: Any) -> str:  # noqa: ANN401  the package carries no types
    """Fill in the package's configuration, and return the namespace that goes with it (empty: none is named).

    By `kubeconfig`, else KUBECONFIG or DEFAULT, else as the pod that this runs in.

    Raises:
        CommandError: when there is no configuration or it cannot be used.
    """
    import yaml
    from kubernetes.config import incluster_config, kube_config
    from kubernetes.config.config_exception import ConfigException

    files = kubeconfig or os.environ.get("KUBECONFIG") or DEFAULT
    in_pod = os.environ.get("KUBERNETES_SERVICE_HOST") and not context
    there = any(file.exists() for file in _paths(files))
    if not (there or in_pod):
        raise CommandError(f"there is no kubeconfig {files}", _HINT)
    try:
        if not there:
            incluster_config.load_incluster_config(client_configuration=configuration)
            return IN_CLUSTER_NAMESPACE.read_text().strip()
        context = context or _current_context(files)
        kube_config.load_kube_config(files, context or None, configuration)
        contexts, current = kube_config.list_kube_config_contexts(files)
        chosen = next((each for each in contexts if each["name"] == context), current)
        return str(chosen["context"].get("namespace") or "")
    except (ConfigException, yaml.YAMLError, OSError, KeyError, TypeError, ValueError) as error:
        raise CommandError(
            f"no usable cluster configuration in {files}: {one_line(error)}",
            _HINT,
        ) from error


def _paths(files: str) -> list[Path]:
    return [Path(file).expanduser() for file in files.split(os.pathsep) if file]


def _current_context(files: str) -> str:
    """The current context of several kubeconfigs: the first that is set counts; the package takes the last."""
    import yaml

    paths = _paths(files)
    if len(paths) < 2:  # noqa: PLR2004  one kubeconfig has no order
        return ""
    read = (yaml.safe_load(file.read_bytes()) for file in paths if file.exists())
    return next((str(found) for each in read if isinstance(each, dict) and (found := each.get("current-context"))), "")
