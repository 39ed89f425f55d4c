"""What is wrong with a setting or an entry, in this project's words instead of pydantic's."""

from collections.abc import Mapping
from typing import Any, Final

_BY_TYPE: Final[Mapping[str, str]] = {
    "missing": "is missing",
    "extra_forbidden": "is not a known key",
    "string_type": "must be text",
    "list_type": "must be a list",
    "dict_type": "must be a map",
    "model_type": "must be a map",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
}
_PREFIXES: Final = ("Value error, ", "Assertion failed, ")


def sentence(fault: Mapping[str, Any]) -> str:
    """The rest of a sentence about what is at the fault's location; `fault` is one of a ValidationError's errors()."""
    known = _BY_TYPE.get(str(fault["type"]))
    if known:
        return known
    message = str(fault["msg"])
    for prefix in _PREFIXES:
        message = message.removeprefix(prefix)
    message = message.replace("Input should be ", "must be ")
    # The name of a variable keeps its case.
    return message if message[:2].isupper() else message[:1].lower() + message[1:]
