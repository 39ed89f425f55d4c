"""Decodes the fields of a review's body that admission reads, and skips the rest.

Most of a pod (managedFields, probes, affinities) has no part in the decision, and building maps of it costs more than
the decision. The types below only select fields. A small body that does not fit them is decoded whole, so that errors
are found and worded in one place: `webhook.admission`.
"""

import codecs
from typing import Final, TypedDict

import msgspec
import orjson

from azure_workload_identity.types import JsonObject


class Variable(TypedDict, total=False):
    """An entry of `env`."""

    name: str
    value: str


class Mount(TypedDict, total=False):
    """An entry of `volumeMounts`."""

    name: str
    mountPath: str
    readOnly: bool
    subPath: str
    subPathExpr: str


class Device(TypedDict, total=False):
    """An entry of `volumeDevices`."""

    devicePath: str


class Port(TypedDict, total=False):
    """An entry of `ports`."""

    containerPort: int
    protocol: str


class SecurityContext(TypedDict, total=False):
    """A securityContext, of a pod or a container."""

    runAsUser: int | None
    windowsOptions: dict[str, msgspec.Raw] | None


class Container(TypedDict, total=False):
    """A container or init container."""

    name: str
    env: list[Variable] | None
    ports: list[Port] | None
    securityContext: SecurityContext | None
    volumeMounts: list[Mount] | None
    volumeDevices: list[Device] | None


class Metadata(TypedDict, total=False):
    """A pod's metadata."""

    name: str
    generateName: str
    labels: dict[str, str] | None
    annotations: dict[str, str] | None


class OperatingSystem(TypedDict, total=False):
    """A pod's os."""

    name: str


class Expression(TypedDict, total=False):
    """An entry of `matchExpressions`."""

    key: str
    operator: str
    values: list[str] | None


class Term(TypedDict, total=False):
    """An entry of `nodeSelectorTerms`."""

    matchExpressions: list[Expression] | None


class NodeSelector(TypedDict, total=False):
    """What a node affinity requires."""

    nodeSelectorTerms: list[Term] | None


class NodeAffinity(TypedDict, total=False):
    """A node affinity."""

    requiredDuringSchedulingIgnoredDuringExecution: NodeSelector | None


class Affinity(TypedDict, total=False):
    """A pod's affinity."""

    nodeAffinity: NodeAffinity | None


class Spec(TypedDict, total=False):
    """A pod's spec.

    Volumes are whole, since the token's volume is compared with the one to inject. Of what is Raw only the presence
    counts.
    """

    containers: list[Container] | None
    initContainers: list[Container] | None
    volumes: list[JsonObject] | None
    serviceAccountName: str
    serviceAccount: str
    hostNetwork: bool
    os: OperatingSystem | None
    nodeSelector: dict[str, str] | None
    affinity: Affinity | None
    securityContext: SecurityContext | None
    resources: dict[str, msgspec.Raw] | None


class Pod(TypedDict, total=False):
    """A pod."""

    metadata: Metadata
    spec: Spec


class Request(TypedDict, total=False):
    """An AdmissionReview's request."""

    uid: str
    namespace: str
    operation: str
    resource: dict[str, str]
    subResource: str
    object: Pod | None


class Envelope(TypedDict, total=False):
    """An AdmissionReview."""

    kind: str
    apiVersion: str
    request: Request


_DECODER: Final = msgspec.json.Decoder(Envelope)
# Up to here a body that does not fit the types is decoded whole, so that `webhook.admission` finds what is wrong.
MAX_WHOLE: Final = 64 << 10
# Up to here a body is decoded without counting its values; every value but a container's first has a comma before it.
MAX_UNCOUNTED: Final = 512 << 10
# Far more than a pod that etcd stores, which has at most 1.5 MiB; decoded they take some 20 MiB.
MAX_VALUES: Final = 200_000
_PART: Final = 64 << 10


class TooManyValuesError(ValueError):
    """The body has more values than any pod that a cluster can store."""


def decode(body: bytes) -> object:
    """Decode a review's body into maps and lists.

    Raises:
        TooManyValuesError: before anything is decoded.
        ValueError: when it is not JSON (RFC 8259) in UTF-8, or is large and not a review.
    """
    _check_text(body)
    if len(body) > MAX_UNCOUNTED and body.count(b",") > MAX_VALUES:
        raise TooManyValuesError(f"the body has more than {MAX_VALUES:,} values")
    try:
        return _DECODER.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        if len(body) > MAX_WHOLE:
            raise ValueError(str(error) or "nested too deep") from None
    return orjson.loads(body)


def _check_text(body: bytes) -> None:
    """Check that a body is UTF-8, also where nothing is decoded, in parts: text may take four times the memory."""
    if body.isascii():
        return
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(body), _PART):
        decoder.decode(body[start : start + _PART])
    decoder.decode(b"", final=True)
