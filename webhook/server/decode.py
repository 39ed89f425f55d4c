"""What is decoded of a review's body: the fields that admission reads. The rest is skipped, not made into objects.

A pod is mostly what does not concern us (managedFields, probes, schedules); making maps of it costs more than deciding.
The types below only say where to look. A body that does not fit them is decoded whole instead, so what is wrong with it
is found, and said, in one place: `webhook.admission`.
"""

from typing import Any, Final, TypedDict

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


class Container(TypedDict, total=False):
    """A container or init container."""

    name: str
    env: list[Variable] | None
    volumeMounts: list[Mount] | None
    volumeDevices: list[Device] | None


class Metadata(TypedDict, total=False):
    """A pod's metadata."""

    name: str
    generateName: str
    labels: dict[str, str] | None
    annotations: dict[str, str] | None


class Spec(TypedDict, total=False):
    """A pod's spec; volumes whole, since ours is compared with what it should be."""

    containers: list[Container]
    initContainers: list[Container] | None
    volumes: list[JsonObject] | None
    serviceAccountName: str
    serviceAccount: str
    hostNetwork: bool
    os: Any
    nodeSelector: Any
    resources: Any


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


def decode(body: bytes) -> object:
    """A review's body as maps and lists.

    Raises:
        ValueError: when it is not JSON (RFC 8259), in UTF-8.
    """
    if not body.isascii():
        body.decode()  # what is skipped is not looked at, but has to be text all the same
    try:
        return _DECODER.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return orjson.loads(body)
