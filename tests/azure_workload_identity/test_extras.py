"""A program without the packages of its extra."""

import pytest

from azure_workload_identity.extras import USAGE, report_missing


def test_names_the_extra(capsys: pytest.CaptureFixture[str]) -> None:
    """The message names the program, the missing package and the command that installs it."""
    error = ModuleNotFoundError("No module named 'uvicorn.config'", name="uvicorn.config")
    assert report_missing("azwi-webhook", "webhook", error) == USAGE
    assert capsys.readouterr().err == (
        "azwi-webhook: the package uvicorn is not installed; pip install 'azure-workload-identity[webhook]' brings it\n"
    )


@pytest.mark.parametrize("name", [None, "webhook.server.gone", "azure_workload_identity.gone"])
def test_own_modules(name: str | None) -> None:
    """A missing module of the project itself is an error of the program, which no extra would repair."""
    error = ModuleNotFoundError("gone", name=name)
    with pytest.raises(ModuleNotFoundError) as raised:
        report_missing("azwi-webhook", "webhook", error)
    assert raised.value is error
