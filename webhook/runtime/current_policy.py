"""The policy in force: settings, the cluster's version and the identity mapping."""

from webhook.admission.identity import IdentityMapping
from webhook.admission.policy import Policy
from webhook.config import policies
from webhook.config.settings import Settings


class CurrentPolicy:
    """Holds the policy for the next admission, and rebuilds it when the version or the mapping changes."""

    def __init__(self, settings: Settings, mapping: IdentityMapping, version: tuple[int, int] | None = None) -> None:
        self._settings = settings
        self._mapping = mapping
        self._version = version
        self._policy = policies.build(settings, mapping, version)

    def get(self) -> Policy:
        """The policy for the next admission."""
        return self._policy

    @property
    def version(self) -> tuple[int, int] | None:
        """The cluster's version, None while unknown."""
        return self._version

    def set_version(self, version: tuple[int, int]) -> None:
        """Set the cluster's version."""
        if version != self._version:
            self._version = version
            self._policy = policies.build(self._settings, self._mapping, version)

    def set_mapping(self, mapping: IdentityMapping) -> None:
        """Set the identity mapping."""
        self._mapping = mapping
        self._policy = policies.build(self._settings, mapping, self._version)
