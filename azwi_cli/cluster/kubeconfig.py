"""The cluster and the user that a command works with, by kubectl's rules for kubeconfigs.

https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/ : of a name that several files
have, the first counts; files that do not exist or are empty are skipped; paths are relative to their file. The
`kubernetes` package reads the merged result, but not credential plugins: it goes on without credentials when one
fails. Here a request is never sent as nobody.
"""

# ruff: noqa: PLC0415  the Kubernetes client is loaded only by commands that talk to a cluster

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from azure_workload_identity.kube_yaml import reader
from azure_workload_identity.types import JsonObject
from azwi_cli.cluster import exec_plugin
from azwi_cli.console.errors import CommandError, one_line

DEFAULT: Final = "~/.kube/config"
IN_CLUSTER_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
MAX_FILE: Final = 4 << 20
_HINT: Final = "name a kubeconfig with --kubeconfig or KUBECONFIG, or a context of it with --context"
_SECTIONS: Final = {"contexts": "context", "clusters": "cluster", "users": "user"}
_PATHS: Final = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
_BOOLEANS: Final = ("insecure-skip-tls-verify", "disable-compression")
_CREDENTIALS: Final = ("token", "tokenFile", "username", "client-certificate", "client-certificate-data")


@dataclass(frozen=True, slots=True)
class Access:
    """What goes with a connection: the context's namespace (empty: none), and headers of an impersonated user."""

    namespace: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """Several kubeconfigs as one; each entry has its paths resolved against the directory of its file."""

    files: str
    current_context: str = ""
    contexts: Mapping[str, JsonObject] = field(default_factory=dict)
    clusters: Mapping[str, JsonObject] = field(default_factory=dict)
    users: Mapping[str, JsonObject] = field(default_factory=dict, repr=False)

    def entry(self, section: str, name: str, needed_by: str) -> JsonObject:
        """The entry of that name.

        Raises:
            CommandError: when there is none.
        """
        entries: Mapping[str, JsonObject] = getattr(self, section)
        if name in entries:
            return entries[name]
        kind, known = _SECTIONS[section], ", ".join(sorted(entries)) or "none"
        raise CommandError(f"{needed_by} {kind} {name!r}, which is not in {self.files}", f"its {section}: {known}")


def load(kubeconfig: str, context: str, configuration: Any) -> Access:  # noqa: ANN401  the package carries no types
    """Fill in the package's configuration.

    By `kubeconfig`, else KUBECONFIG or DEFAULT, else as the pod that this runs in.

    Raises:
        CommandError: when there is no configuration, it cannot be used, or its user has no credentials.
    """
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
            return Access(IN_CLUSTER_NAMESPACE.read_text().strip())
        chosen, access = resolve(read(files), context)
        kube_config.load_kube_config_from_dict(chosen, "azwi", configuration, persist_config=False)
    except (ConfigException, OSError, KeyError, TypeError, ValueError) as error:
        raise CommandError(f"no usable cluster configuration in {files}: {one_line(error)}", _HINT) from error
    return access


def read(files: str) -> Kubeconfig:
    """The kubeconfigs of a list of files, merged.

    Raises:
        CommandError: when one cannot be read or is not a kubeconfig.
    """
    current, sections = "", {section: dict[str, JsonObject]() for section in _SECTIONS}
    for file in _paths(files):
        content = _content(file) if file.exists() else None
        if content is None:
            continue
        if not isinstance(content, dict):
            raise CommandError(f"{file} is not a kubeconfig", _HINT)
        current = current or str(content.get("current-context") or "")
        for section, kind in _SECTIONS.items():
            for name, entry in _entries(file, section, kind, content.get(section)):
                sections[section].setdefault(name, entry)
    return Kubeconfig(files, current, **sections)


def _content(file: Path) -> object:
    """The only document of a kubeconfig, None where it is empty."""
    try:
        with file.open("rb") as stream:
            text = stream.read(MAX_FILE + 1)
        if len(text) > MAX_FILE:
            raise CommandError(f"kubeconfig {file} is larger than {MAX_FILE >> 20} MiB", _HINT)
        return reader.read_one(text)
    except (OSError, reader.YamlError) as error:
        raise CommandError(f"kubeconfig {file} cannot be read: {one_line(error)}", _HINT) from error


def resolve(merged: Kubeconfig, context: str = "") -> tuple[JsonObject, Access]:
    """A kubeconfig of one context, `azwi`, with the credentials that a plugin issued, and what goes with it.

    Raises:
        CommandError: when something that the context names is missing, or there are no credentials.
    """
    name = context or merged.current_context
    if not name:
        raise CommandError(f"no current context is set in {merged.files}", _HINT)
    if name not in merged.contexts:
        known = ", ".join(sorted(merged.contexts)) or "none"
        raise CommandError(f"there is no context {name!r} in {merged.files}", f"choose with --context: {known}")
    chosen = merged.contexts[name]
    cluster = merged.entry("clusters", str(chosen.get("cluster") or ""), f"context {name!r} names")
    _check_server(cluster, merged.files)
    user_name = str(chosen.get("user") or "")
    user = merged.entry("users", user_name, f"context {name!r} names") if user_name else {}
    resolved: JsonObject = {
        "current-context": "azwi",
        "contexts": [{"name": "azwi", "context": {"cluster": "azwi", "user": "azwi"}}],
        "clusters": [{"name": "azwi", "cluster": cluster}],
        "users": [{"name": "azwi", "user": _credentials(user_name, user, cluster, name)}],
    }
    return resolved, Access(str(chosen.get("namespace") or ""), _impersonation(user, name))


def _credentials(name: str, user: JsonObject, cluster: JsonObject, context: str) -> JsonObject:
    """The user with credentials that can be sent.

    Raises:
        CommandError: when there are none.
    """
    if "auth-provider" in user:
        provider = user["auth-provider"].get("name") if isinstance(user["auth-provider"], dict) else ""
        raise CommandError(
            f"user {name!r} logs in by auth-provider {provider!r}, which Kubernetes removed in 1.26",
            "use a credential plugin instead; for AKS: kubelogin convert-kubeconfig -l azurecli",
        )
    if any(user.get(key) for key in _CREDENTIALS):
        return {key: value for key, value in user.items() if key != "exec"}
    if user.get("exec"):
        return exec_plugin.credentials(user["exec"], cluster)
    if urlsplit(str(cluster.get("server"))).scheme == "http":
        return {}  # as `kubectl proxy` serves, which adds its own
    if not name:
        raise CommandError(
            f"context {context!r} names no user, so requests would be anonymous",
            f"kubectl config set-context {context} --user=NAME, or choose another --context",
        )
    raise CommandError(
        f"user {name!r} has no credentials, so requests would be anonymous",
        "log in to the cluster again; for AKS: az aks get-credentials",
    )


def _impersonation(user: JsonObject, context: str) -> Mapping[str, str]:
    """The headers of `as` and `as-uid`.

    Raises:
        CommandError: for groups and extras, of which a request may have several: they are not left out silently.
    """
    if user.get("as-groups") or user.get("as-user-extra"):
        raise CommandError(
            f"the user of context {context!r} impersonates with as-groups or as-user-extra, which azwi does not send",
            "choose a --context that impersonates by name only, or not at all",
        )
    fields = {"Impersonate-User": user.get("as"), "Impersonate-Uid": user.get("as-uid")}
    return {header: str(value) for header, value in fields.items() if value}


def _check_server(cluster: JsonObject, files: str) -> None:
    """Refuse an address that cannot be one.

    Raises:
        CommandError: when scheme, host or port is not usable.
    """
    server = str(cluster.get("server") or "")
    try:
        parts = urlsplit(server)
        usable = parts.scheme in {"http", "https"} and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise CommandError(f"the cluster's server {server!a} in {files} is not a URL such as https://host:6443", _HINT)


def _entries(file: Path, section: str, kind: str, listed: object) -> list[tuple[str, JsonObject]]:
    if listed is None:
        return []
    found = []
    for item in listed if isinstance(listed, list) else [None]:
        entry = item.get(kind) if isinstance(item, dict) else None
        if not isinstance(item, dict) or not item.get("name") or not isinstance(entry or {}, dict):
            raise CommandError(f"{section} of kubeconfig {file} are not a list of named entries", _HINT)
        _check_text({"name": item["name"], **(entry or {})}, f"{kind} {item['name']!r} in {file}")
        found.append((item["name"], _absolute(entry or {}, file.parent)))
    return found


def _check_text(entry: JsonObject, where: str) -> None:
    """Refuse a namespace `n`, a boolean to YAML, or a token of digits, as kubectl does."""
    for key, value in entry.items():
        if isinstance(value, bool | int | float) and key not in _BOOLEANS:
            raise CommandError(f"{key} of {where} is read as {value!r} and must be text", "put it in quotes")


def _absolute(entry: JsonObject, directory: Path) -> JsonObject:
    """The entry with its paths resolved; a plugin's command is one if it has a slash."""
    paths: JsonObject = {key: str(directory / entry[key]) for key in _PATHS if entry.get(key)}
    plugin = entry.get("exec")
    if isinstance(plugin, dict) and "/" in str(plugin.get("command", "")):
        paths["exec"] = {**plugin, "command": str(directory / plugin["command"])}
    return {**entry, **paths}


def _paths(files: str) -> list[Path]:
    return [Path(file).expanduser() for file in files.split(os.pathsep) if file]
