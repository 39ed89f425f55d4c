"""The policy as it is now: settings, and what the cluster says of its version and its identity mapping."""

from webhook.admission.identity import IdentityMapping
from webhook.admission.policy import Policy
from webhook.config import policies
from webhook.config.settings import Settings


class Current:
    """The policy that the next admission gets."""

    def __init__(self, settings: Settings, mapping: IdentityMapping, version: tuple[int, int] | None = None) -> None:
        self._settings = settings
        self._mapping = mapping
        self._version = version
        self.policy: Policy = policies.build(settings, mapping, version)

    @property
    def version(self) -> tuple[int, int] | None:
        """The cluster's version, None while it is not known."""
        return self._version

    def learn_version(self, version: tuple[int, int]) -> None:
        """The cluster has this version."""
        if version != self._version:
            self._version = version
            self.policy = policies.build(self._settings, self._mapping, version)

    def learn_mapping(self, mapping: IdentityMapping) -> None:
        """The identity mapping has changed."""
        self._mapping = mapping
        self.policy = policies.build(self._settings, mapping, self._version)
