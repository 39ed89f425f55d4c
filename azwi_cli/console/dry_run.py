"""`--dry-run`: the requests that would change something, in order; none of them is sent."""

import json
from dataclasses import dataclass, field
from typing import Any

from azure_workload_identity.types import JsonObject


@dataclass(frozen=True, slots=True)
class Planned:
    """One request; `body` is what would be sent as JSON, or a manifest."""

    method: str
    url: str
    body: Any = None

    def document(self) -> JsonObject:
        """As JSON and YAML have it."""
        return {"method": self.method, "url": self.url, **({} if self.body is None else {"body": self.body})}

    def text(self) -> str:
        """As people read it."""
        line = f"{self.method} {self.url}"
        return line if self.body is None else f"{line}\n{json.dumps(self.body, indent=2)}"


@dataclass(slots=True)
class Plan:
    """The requests so far."""

    requests: list[Planned] = field(default_factory=list)

    def add(self, method: str, url: str, body: object = None) -> None:
        """Add one request."""
        self.requests.append(Planned(method, url, body))
