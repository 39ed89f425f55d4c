"""A connection for reading; what may not be read is recorded instead of failing."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from azure_workload_identity.types import JsonObject
from azwi_cli.cluster.kube import ApiError, Cluster
from azwi_cli.commands.doctor.findings import Area, Unreadable

MAX_OBJECTS: Final = 20_000
_NOT_FOUND: Final = 404
_NOT_ALLOWED: Final = frozenset({403, 405})


@dataclass(frozen=True, slots=True)
class Scope:
    """What is looked at; empty is everything."""

    namespace: str = ""
    pod: str = ""
    service_account: str = ""

    @property
    def is_partial(self) -> bool:
        """Whether only one pod or ServiceAccount is looked at."""
        return bool(self.pod or self.service_account)


@dataclass
class Reader:
    """A connection that records what may not be read; `on_step` is called with a description of each step."""

    cluster: Cluster
    scope: Scope = Scope()
    on_step: Callable[[str], None] = lambda _: None
    unreadable: list[Unreadable] = field(default_factory=list)

    def find(self, area: Area, what: str, path: str) -> JsonObject | None:
        """One object, {} when there is none, None when it may not be read."""
        try:
            return self.cluster.get(path)
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return {}
            self._note(area, what, f"get {what}", error)
            return None

    def list(
        self, area: Area, what: str, path: str, *, labels: str = "", most: int = MAX_OBJECTS
    ) -> list[JsonObject] | None:
        """All objects, none where the kind is not there, None when they may not be listed."""
        self.on_step(f"reading {what}")
        try:
            found = list(islice(self.cluster.list(path, labels=labels), most + 1))
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return []
            self._note(area, what, f"list {what}", error)
            return None
        if len(found) > most:
            self.unreadable.append(
                Unreadable(what, f"there are more than {most}", area, "a namespace to look at: --namespace")
            )
        return found[:most]

    def _note(self, area: Area, what: str, needed: str, error: ApiError) -> None:
        if error.status not in _NOT_ALLOWED:
            raise error
        self.unreadable.append(Unreadable(what, error.message, area, f"permission to {needed}"))
