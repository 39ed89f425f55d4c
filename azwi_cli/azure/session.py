"""A command's connection to Azure: cloud, tenant, credential, and the two APIs, each made when it is first needed."""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Self

from azwi_cli.azure import arm, auth, graph, tenant
from azwi_cli.azure.auth import Login
from azwi_cli.azure.clouds import Cloud
from azwi_cli.azure.pipeline import Endpoint
from azwi_cli.azure.target import CloudTarget
from azwi_cli.console.dry_run import Plan
from azwi_cli.console.errors import UsageError

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential


@dataclass
class Session:
    """Close it; nothing is sent before something is asked of it."""

    login: Login
    target: CloudTarget = field(default_factory=CloudTarget)
    plan: Plan | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    _opened: ExitStack = field(default_factory=ExitStack, repr=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    @cached_property
    def cloud(self) -> Cloud:
        """The cloud."""
        return self.target.cloud(self.environ)

    @cached_property
    def subscription(self) -> str:
        """The subscription: the one that is given, else the Azure CLI's; empty when there is none."""
        return self.login.subscription_id or tenant.selected_subscription(self.cloud, self.environ)

    def need_subscription(self) -> str:
        """The subscription.

        Raises:
            CommandError: when there is none.
        """
        if not self.subscription:
            raise UsageError("--subscription-id is required", "or az login, which selects one")
        return self.subscription

    @cached_property
    def tenant(self) -> str:
        """The tenant: the one that is given, else the subscription's.

        Raises:
            CommandError: when it is not known.
        """
        if self.login.tenant_id:
            return self.login.tenant_id
        if not self.subscription:
            raise UsageError("the tenant is not known", "give --tenant-id or --subscription-id, or run az login")
        return tenant.tenant_of(self.subscription, self.cloud)

    @cached_property
    def credential(self) -> "TokenCredential":
        """What gets tokens; one for both APIs."""
        return auth.credential(self.login, self.cloud, self.tenant, self.environ)

    @cached_property
    def arm(self) -> arm.Arm:
        """Azure Resource Manager."""
        endpoint = Endpoint(self.cloud.arm, self.credential, self.cloud.arm_audience, arm.DENIED, self.plan)
        return arm.Arm(self._opened.enter_context(endpoint))

    @cached_property
    def graph(self) -> graph.Graph:
        """Microsoft Graph.

        Raises:
            CommandError: when the cloud has none.
        """
        if not self.cloud.graph:
            raise UsageError(
                f"the cloud {self.cloud.name} names no Microsoft Graph",
                "give --graph-endpoint, or use a managed identity, which needs none",
            )
        endpoint = Endpoint(self.cloud.graph, self.credential, self.cloud.graph, graph.DENIED, self.plan)
        return graph.Graph(self._opened.enter_context(endpoint))
