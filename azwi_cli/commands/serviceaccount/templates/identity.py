"""A managed identity for a ServiceAccount, as templates describe it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from azwi_cli.azure.federation import Trust

# Of Microsoft.ManagedIdentity.
API_VERSION: Final = "2023-01-31"


class TemplateFormat(StrEnum):
    """Languages that the identity can be printed in."""

    BICEP = "bicep"
    TERRAFORM = "terraform"
    ASO = "aso"


@dataclass(frozen=True, slots=True)
class Template:
    """What is printed.

    Args:
        trust: whose tokens the identity trusts.
        subscription: its subscription; empty where the tool knows it.
        group: its resource group.
        name: the managed identity's name.
        location: where it is created; empty for one that exists.
        token_expiration: of the ServiceAccount's tokens, in seconds.
        label: whether the ServiceAccount gets the label for admission policies.
        role: name or GUID of a role that it gets; empty for none.
        scope: what the role is for.
    """

    trust: Trust
    subscription: str
    group: str
    name: str
    location: str
    token_expiration: int
    label: bool
    role: str = ""
    scope: str = ""

    @property
    def credential(self) -> str:
        """The name of the federated credential, as `azwi serviceaccount create` names it."""
        return self.trust.distinct_name

    @property
    def account(self) -> str:
        """The ServiceAccount, for comments."""
        return f"{self.trust.namespace}/{self.trust.service_account}"
