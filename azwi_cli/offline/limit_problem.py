"""One reason why the API server would refuse a pod with what is injected."""

from dataclasses import dataclass
from typing import Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject

# What a pod's annotation can set of the proxy's resources.
ANNOTATIONS: Final = {
    ("cpu", "request"): names.PROXY_CPU_REQUEST,
    ("cpu", "limit"): names.PROXY_CPU_LIMIT,
    ("memory", "request"): names.PROXY_MEMORY_REQUEST,
    ("memory", "limit"): names.PROXY_MEMORY_LIMIT,
}


@dataclass(frozen=True, slots=True)
class LimitProblem:
    """Why the API server would refuse the pod, by an object of a namespace: `kind` and `name`, or Pod Security.

    `annotations` on the pod help, where there are any; where not, `operations` (RFC 6902) on the object may.
    """

    kind: str
    name: str
    text: str
    annotations: tuple[tuple[str, str], ...] = ()
    operations: tuple[JsonObject, ...] = ()

    @property
    def source(self) -> str:
        """What messages call the object."""
        return f"{self.kind} {self.name}".strip()

    def __str__(self) -> str:
        advice = " and ".join(f'{name}: "{value}"' for name, value in self.annotations)
        return f"{self.source} would refuse the pod: {self.text}" + (
            f"; annotate the pod with {advice}" if advice else ""
        )


def name_of(manifest: JsonObject) -> str:
    """The name of a LimitRange or a ResourceQuota."""
    return str((manifest.get("metadata") or {}).get("name", ""))
