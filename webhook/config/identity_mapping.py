"""Reads the identity mapping that administrators write: YAML, validated and turned into admission's entries."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.alias_generators import to_camel

from azure_workload_identity import names
from azure_workload_identity.kube_yaml import reader
from webhook.admission import values
from webhook.admission.identity import IdentityMapping, MappingEntry
from webhook.config import faults

MAX_ENTRIES: Final = 10_000
Pattern = Annotated[str, Field(min_length=1, max_length=253)]


class MappingEntrySchema(BaseModel):
    """One entry as YAML: patterns (`*`, `?`, `[...]`) and the identity of the accounts that match them."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True, str_strip_whitespace=True
    )

    namespace: Pattern
    service_account: Pattern = "*"
    client_id: str
    tenant_id: str = ""
    service_account_token_expiration: Annotated[
        int | None, Field(ge=names.MIN_TOKEN_EXPIRATION, le=names.MAX_TOKEN_EXPIRATION)
    ] = None

    @field_validator("client_id")
    @classmethod
    def _check_client(cls, client_id: str) -> str:
        if not values.is_uuid(client_id):
            raise ValueError("must be a UUID")
        return client_id

    @field_validator("tenant_id")
    @classmethod
    def _check_tenant(cls, tenant_id: str) -> str:
        if tenant_id and not values.is_tenant(tenant_id):
            raise ValueError("must be a UUID or a domain")
        return tenant_id

    def as_mapping_entry(self) -> MappingEntry:
        """Convert to admission's entry."""
        return MappingEntry(
            namespace=self.namespace,
            service_account=self.service_account,
            client_id=self.client_id,
            tenant_id=self.tenant_id,
            token_expiration=self.service_account_token_expiration,
        )


class _Document(BaseModel):
    """The whole file: one key, `mappings`, with a list of entries."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mappings: Annotated[list[Any], Field(max_length=MAX_ENTRIES)]


@dataclass(frozen=True, slots=True)
class ParsedMapping:
    """The valid entries, and one sentence for every invalid one."""

    entries: tuple[MappingEntry, ...] = ()
    faults: tuple[str, ...] = ()


def parse(content: str | bytes) -> ParsedMapping:
    """Parse YAML; an invalid entry becomes one of the `faults`.

    Raises:
        ValueError: when the document is not a mapping file.
    """
    try:
        document = reader.read_one(content)
    except reader.YamlError as error:
        raise ValueError(f"it is not YAML: {error}") from None
    return parse_document(document)


def parse_document(document: object) -> ParsedMapping:
    """Parse a decoded mapping file; an invalid entry becomes one of the `faults`.

    Raises:
        ValueError: when it is not a mapping file.
    """
    try:
        whole = _Document.model_validate(document)
    except ValidationError as error:
        raise ValueError(_sentence(error)) from None
    entries, faults = [], []
    for number, written in enumerate(whole.mappings):
        try:
            entries.append(MappingEntrySchema.model_validate(written).as_mapping_entry())
        except ValidationError as error:
            faults.append(_sentence(error, "mappings", number))
    return ParsedMapping(tuple(entries), tuple(faults))


def parse_configmap(data: object) -> ParsedMapping:
    """Parse the mapping in a ConfigMap's data.

    Raises:
        ValueError: as `parse`, and when the key is missing.
    """
    content = data.get(names.MAPPING_KEY) if isinstance(data, dict) else None
    if not isinstance(content, str):
        raise ValueError(f"it has no key {names.MAPPING_KEY}")  # noqa: TRY004  reported like the others
    return parse(content)


def load(path: Path) -> IdentityMapping:
    """Read a mapping file, all of whose entries must be valid.

    Raises:
        ValueError: with the place of the first error and what it is.
    """
    try:
        parsed = parse(reader.content_of(path))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    for fault in parsed.faults:
        raise ValueError(f"{path}: {fault}")
    return IdentityMapping(parsed.entries)


def _sentence(error: ValidationError, *within: str | int) -> str:
    fault = error.errors(include_url=False)[0]
    place = ".".join(map(str, (*within, *fault["loc"])))
    message = faults.sentence(fault)
    return f"{place}: {message}" if place else message
