"""What is wrong with a setting, in this project's words."""

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from webhook.config.faults import sentence


class Example(BaseModel):
    """Some settings."""

    model_config = ConfigDict(extra="forbid")

    name: str
    number: int = Field(default=1, le=5)

    @field_validator("name")
    @classmethod
    def lower(cls, value: str) -> str:
        """Refuse other letters."""
        if not value.islower():
            raise ValueError("AZURE_NAME must be lower case" if value == "X" else "must be lower case")
        return value


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "is missing"),
        ({"name": 1}, "must be text"),
        ({"name": "x", "other": 1}, "is not a known key"),
        ({"name": "x", "number": "y"}, "must be a whole number"),
        ({"name": "x", "number": 9}, "must be less than or equal to 5"),
        ({"name": "Y"}, "must be lower case"),
        ({"name": "X"}, "AZURE_NAME must be lower case"),
    ],
)
def test_sentence(given: dict[str, object], expected: str) -> None:
    """None of it is pydantic's own text, and the name of a variable keeps its case."""
    with pytest.raises(ValidationError) as refused:
        Example.model_validate(given)
    assert sentence(refused.value.errors()[0]) == expected
