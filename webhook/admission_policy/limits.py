"""What of an installation's settings policies cannot hold."""

from collections.abc import Iterator
from typing import Final

from webhook.admission.policy import Policy
from webhook.admission_policy.settings import settings_variables

# https://github.com/google/cel-go: the default of its ExpressionSizeCodePointLimit, which the API server keeps.
MAX_EXPRESSION: Final = 100_000
_OF_MAPPING: Final = frozenset({"mappedAccounts", "mappedPatterns"})


def too_long(policy: Policy) -> Iterator[str]:
    """A sentence for each setting whose text is longer than the API server lets an expression be."""
    for variable in settings_variables(policy):
        if (size := len(variable.expression)) > MAX_EXPRESSION:
            what = (
                f"the identity mapping ({len(policy.mapping.entries)} entries)"
                if variable.name in _OF_MAPPING
                else f"the value of {variable.name}"
            )
            yield (
                f"{what} has {size} characters as an expression, and the API server takes {MAX_EXPRESSION}: "
                "use fewer entries or patterns, or annotate the ServiceAccounts"
            )
