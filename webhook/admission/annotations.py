"""What a pod's annotations ask for: read into one value, once for each admission."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from azure_workload_identity import names
from webhook.admission import values
from webhook.admission.identity import parse_expiration
from webhook.admission.pod import Pod
from webhook.admission.policy import CustomEndpoint
from webhook.admission.proxy import ProxyRequest
from webhook.admission.reasons import AdmissionWarning, Reason, Refusal, WarningCode, quoted

# The API server has no such limit; more names than containers that can have the identity are no use.
MAX_NAMES: Final = 5_000
_NO_NAMES: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True)
class PodAnnotations:
    """The annotations of one pod, parsed. What is absent, or has no effect, has the default.

    The lists hold container names; `token_expiration` is in seconds; `second_audience` is empty for no second token and
    None for the setting's; `endpoint` is the custom token endpoint if the pod asks for it and the webhook has one. The
    warnings are about values without the effect that they should have.
    """

    inject_containers: frozenset[str] = _NO_NAMES
    skip_containers: frozenset[str] = _NO_NAMES
    token_expiration: int | None = None
    second_audience: str | None = None
    proxy: ProxyRequest | None = None
    endpoint: CustomEndpoint | None = None
    warnings: tuple[AdmissionWarning, ...] = ()

    @classmethod
    def parse(cls, pod: Pod, endpoint: CustomEndpoint | None) -> "PodAnnotations":
        """Read the annotations of a pod where `endpoint` is the custom token endpoint that is set up, if any.

        Raises:
            Refusal: ANNOTATIONS_TOO_LARGE, INVALID_TOKEN_EXPIRATION, INVALID_PROXY_MODE, INVALID_PROXY_PORT or
                INVALID_PROXY_RESOURCES; or INVALID_PROXY_APPLICATION or INVALID_SECOND_AUDIENCE.
        """
        annotations = {key: text for key, text in pod.annotations.items() if key.startswith(names.PREFIX)}
        if not annotations:
            return _NOTHING
        inject = _names(annotations, names.INJECT_CONTAINERS)
        skip = _names(annotations, names.SKIP_CONTAINERS)
        expiration = annotations.get(names.TOKEN_EXPIRATION)
        inject_proxy = values.boolean(annotations.get(names.INJECT_PROXY, ""))
        use_endpoint = values.boolean(annotations.get(endpoint.annotation, "")) if endpoint else None
        return cls(
            inject_containers=inject,
            skip_containers=skip,
            token_expiration=parse_expiration(expiration, "the pod") if expiration else None,
            second_audience=_audience(annotations.get(names.SECOND_AUDIENCE)),
            proxy=ProxyRequest.parse(annotations) if inject_proxy else None,
            endpoint=endpoint if use_endpoint else None,
            warnings=(
                *_endpoint_warnings(annotations, endpoint, is_boolean=use_endpoint is not None),
                *_list_warnings(names.INJECT_CONTAINERS, inject, pod),
                *_list_warnings(names.SKIP_CONTAINERS, skip, pod),
                *(() if inject_proxy is not None else _proxy_warnings(annotations)),
            ),
        )


_NOTHING: Final = PodAnnotations()


def _names(annotations: Mapping[str, str], key: str) -> frozenset[str]:
    text = annotations.get(key, "")
    if text.count(";") + text.count(",") > MAX_NAMES:
        raise Refusal(Reason.ANNOTATIONS_TOO_LARGE, f"{key} names more than {MAX_NAMES} containers")
    return values.names(text)


def _audience(text: str | None) -> str | None:
    if text and not values.is_id(text):
        raise Refusal(
            Reason.INVALID_SECOND_AUDIENCE,
            f"{names.SECOND_AUDIENCE} {quoted(text)} is not an audience: printable ASCII without blanks, "
            f"at most {values.MAX_ID} characters",
        )
    return text


def _list_warnings(key: str, listed: frozenset[str], pod: Pod) -> Iterator[AdmissionWarning]:
    unknown = ", ".join(sorted(listed - pod.container_names - names.PROXY_CONTAINERS)) if listed else ""
    if unknown:
        yield AdmissionWarning(WarningCode.UNKNOWN_CONTAINER, f"{key} names {quoted(unknown)}, not in the pod")


def _endpoint_warnings(
    annotations: Mapping[str, str], endpoint: CustomEndpoint | None, *, is_boolean: bool
) -> Iterator[AdmissionWarning]:
    for key, text in annotations.items():
        if not key.startswith(names.CUSTOM_ENDPOINT_PREFIX):
            continue
        if endpoint is None or key != endpoint.annotation:
            yield AdmissionWarning(
                WarningCode.CUSTOM_ENDPOINT_OFF,
                f"{quoted(key)} has no effect: this webhook is not set up for that token endpoint",
            )
        elif not is_boolean:
            yield _not_a_boolean(key, text, " and has no effect")


def _proxy_warnings(annotations: Mapping[str, str]) -> Iterator[AdmissionWarning]:
    if names.INJECT_PROXY in annotations:
        yield _not_a_boolean(names.INJECT_PROXY, annotations[names.INJECT_PROXY], ", so no proxy is injected")


def _not_a_boolean(key: str, text: str, effect: str) -> AdmissionWarning:
    return AdmissionWarning(WarningCode.NOT_A_BOOLEAN, f'{key} {quoted(text)} is neither "true" nor "false"{effect}')
