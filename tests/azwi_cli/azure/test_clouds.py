"""Azure's clouds, and those of others."""

import json
from pathlib import Path

import pytest

from azure_workload_identity import names
from azwi_cli.azure import clouds
from azwi_cli.azure.clouds import Cloud
from azwi_cli.azure.target import CloudTarget
from azwi_cli.console.errors import CommandError, UsageError
from testbed.azure_management import Azure


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("AzurePublicCloud", clouds.PUBLIC),
        ("azurecloud", clouds.PUBLIC),
        ("AZUREUSGOVERNMENT", clouds.US_GOVERNMENT),
        ("AzureUSGovernmentCloud", clouds.US_GOVERNMENT),
        ("AzureChinaCloud", clouds.CHINA),
    ],
)
def test_names(name: str, expected: Cloud) -> None:
    """A cloud is found by either of its names, in any case."""
    assert clouds.named(name, {}) == expected


def test_sovereign_clouds_are_whole() -> None:
    """No endpoint, audience or authority of one cloud is another's."""
    for field in ("authority_host", "arm", "arm_audience", "graph", "audience"):
        assert len({getattr(cloud, field) for cloud in (clouds.PUBLIC, clouds.US_GOVERNMENT, clouds.CHINA)}) == 3


@pytest.mark.parametrize("name", ["AzureGermanCloud", "AzurePublicClod", ""])
def test_unknown(name: str) -> None:
    """A closed cloud and a mistyped one are wrong usage."""
    with pytest.raises(UsageError):
        clouds.named(name, {})


def test_stack_file(tmp_path: Path) -> None:
    """AzureStackCloud is what the file that v1.6.0 reads says."""
    file = tmp_path / "stack.json"
    file.write_text(
        json.dumps(
            {
                "name": "Hub",
                "resourceManagerEndpoint": "https://management.hub.test/",
                "activeDirectoryEndpoint": "https://login.hub.test/",
                "tokenAudience": "https://audience.hub.test/",
            }
        )
    )
    cloud = clouds.named("AzureStackCloud", {clouds.ENV_STACK_FILE: str(file)})
    assert cloud == Cloud(
        "Hub",
        "https://login.hub.test",
        "https://management.hub.test",
        "https://audience.hub.test",
        "",
        names.DEFAULT_AUDIENCE,
        well_known=False,
    )


@pytest.mark.parametrize("content", [None, "no JSON", "[]", '{"name": "Hub"}'])
def test_stack_file_unusable(tmp_path: Path, content: str | None) -> None:
    """Without a usable file, AzureStackCloud is refused in a sentence."""
    file = tmp_path / "stack.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(CommandError):
        clouds.named("AzureStackCloud", {clouds.ENV_STACK_FILE: str(file)})
    with pytest.raises(CommandError, match=clouds.ENV_STACK_FILE):
        clouds.named("AzureStackCloud", {})


def test_arm_endpoint(azure: Azure) -> None:
    """A cloud that is named by its ARM endpoint is asked for the rest, and what is given goes before that."""
    cloud = CloudTarget(arm_endpoint=f"{azure.arm}/").cloud({})
    assert (cloud.arm, cloud.arm_audience, cloud.graph) == (azure.arm, azure.arm, azure.graph)
    assert cloud.authority_host == "https://login.microsoftonline.com"
    assert not cloud.well_known
    given = CloudTarget(arm_endpoint=azure.arm, authority_host="https://login.test/", audience="api://Mine").cloud({})
    assert (given.authority_host, given.audience) == ("https://login.test", "api://Mine")


@pytest.mark.parametrize("host", ["login.microsoftonline.com", "https://login.microsoftonline.com/"])
def test_authority_of_the_cloud(host: str) -> None:
    """The cloud's own authority, as AZURE_AUTHORITY_HOST has it for SDKs, changes nothing."""
    assert CloudTarget(authority_host=host).cloud({}) == clouds.PUBLIC


def test_public_arm_endpoint() -> None:
    """The ARM endpoint of a cloud of Azure's is that cloud."""
    assert clouds.from_metadata("https://management.usgovcloudapi.net", {}) == clouds.US_GOVERNMENT


@pytest.mark.parametrize("url", ["http://arm.test", "arm.test", "https://u@arm.test", "https://arm.test?x", "https://"])
def test_https_only(url: str) -> None:
    """An endpoint that is not an https URL is refused: a token would go there."""
    with pytest.raises(UsageError):
        CloudTarget(arm_endpoint=url).cloud({})
