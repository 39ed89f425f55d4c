"""The cloud that a command line selects."""

# ruff: noqa: PLC0415  help texts and completion do without the pipeline

# ruff: noqa: PLC0415  help texts and completion do without the pipeline

from collections.abc import Mapping
from dataclasses import dataclass

from azwi_cli.azure import clouds
from azwi_cli.azure.clouds import Cloud


@dataclass(frozen=True, slots=True)
class CloudTarget:
    """The cloud that the command line names, and its overridden endpoints; empty means not given."""

    azure_env: str = clouds.PUBLIC.name
    arm_endpoint: str = ""
    authority_host: str = ""
    graph_endpoint: str = ""
    audience: str = ""

    def cloud(self, environ: Mapping[str, str]) -> Cloud:
        """The cloud; one that is named by its ARM endpoint is asked for the rest.

        Raises:
            CommandError: when there is no such cloud, or it does not answer.
        """
        overrides = (self.authority_host, self.graph_endpoint, self.audience)
        if not self.arm_endpoint:
            return clouds.named(self.azure_env, environ).overridden(*overrides)
        from azwi_cli.azure.pipeline import Endpoint

        base = clouds.https(self.arm_endpoint, "--arm-endpoint")
        with Endpoint(base) as endpoint:
            metadata = endpoint.get("/metadata/endpoints", {"api-version": clouds.METADATA_VERSION})
        return clouds.from_metadata(base, metadata).overridden(*overrides)
