"""Types of values whose shape is JSON's, named once."""

from typing import Any, TypeAlias

# A JSON object as a parser gives it: a pod, a manifest, a patch operation, the body of an answer.
JsonObject: TypeAlias = dict[str, Any]
