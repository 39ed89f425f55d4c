"""`azwi token exchange`: performs the token exchange that a pod would, and explains the result."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import click

from azure_workload_identity import entra, names, second_exchange
from azure_workload_identity.types import JsonObject
from azwi_cli.azure.clouds import https
from azwi_cli.azure.options import CLOUD, Params, target, with_options
from azwi_cli.azure.polling import Polling
from azwi_cli.cluster import completion, kube
from azwi_cli.cluster import options as cluster_flags
from azwi_cli.cluster.kube import Cluster
from azwi_cli.commands.token import exchange
from azwi_cli.commands.token.exchange import Assertion, RefusedError, TokenProxy, TokenRequest
from azwi_cli.console import output
from azwi_cli.console.errors import CommandError, UsageError
from azwi_cli.console.groups import Group
from azwi_cli.console.option_types import Duration
from webhook.admission.identity import Account

TOKEN_CLAIMS: Final = ("aud", "iss", "tid", "appid", "azp", "oid", "idtyp", "roles", "xms_mirid")


def _identity(given: Params, account: Account) -> tuple[str, str]:
    """Client id and tenant, by flag, annotation, or variable."""
    client_id = given["client_id"] or account.client_id or os.environ.get(names.ENV_CLIENT_ID, "")
    tenant_id = given["tenant_id"] or account.tenant_id or os.environ.get(names.ENV_TENANT_ID, "")
    if not client_id:
        raise CommandError(
            f"the ServiceAccount has no annotation {names.CLIENT_ID}",
            "azwi serviceaccount create phase service-account sets it; --client-id tries one without it",
        )
    if not tenant_id:
        raise UsageError(
            "--tenant-id is required", f"neither the annotation {names.TENANT_ID} nor {names.ENV_TENANT_ID} is there"
        )
    return client_id, tenant_id


@click.group("token", cls=Group)
def command() -> None:
    """Try the exchange of a ServiceAccount's token."""


@command.command("exchange")
@click.option(
    "--service-account",
    "--service-account-name",
    default="",
    metavar="NAME",
    callback=cluster_flags.checked_name,
    shell_complete=completion.named("serviceaccounts"),
    help="The ServiceAccount.",
)
@cluster_flags.options
@click.option(
    "--token-file",
    envvar=names.ENV_TOKEN_FILE,
    show_envvar=True,
    default="",
    metavar="FILE",
    help="A token that is there already, instead of a new one; in a pod, the one that is mounted.",
)
@click.option("--client-id", default="", metavar="UUID", help="Whose token is wanted; default: the annotation's.")
@click.option("--tenant-id", default="", metavar="ID", help="In which tenant; default: the annotation's.")
@click.option("--scope", default="", help="What the token is for; default: Azure Resource Manager, RESOURCE/.default.")
@click.option("--identity-binding", is_flag=True, help="Exchange through the token proxy of an identity binding.")
@click.option(
    "--token-proxy",
    default="",
    envvar=names.ENV_TOKEN_PROXY,
    show_envvar=True,
    metavar="URL",
    help="With --identity-binding: the token proxy.",
)
@click.option(
    "--token-proxy-sni",
    default="",
    envvar=names.ENV_TOKEN_PROXY_SNI,
    show_envvar=True,
    metavar="NAME",
    help="With --identity-binding: the name in its certificate; default: the URL's host.",
)
@click.option(
    "--token-proxy-ca-file",
    default="",
    envvar=names.ENV_TOKEN_PROXY_CA_FILE,
    show_envvar=True,
    metavar="FILE",
    help="With --identity-binding: its CA in PEM; default: the system's.",
)
@click.option(
    "--then-client-id",
    default="",
    metavar="UUID",
    help="Exchange the answer once more, for this application, which trusts the first identity.",
)
@click.option(
    "--then-tenant-id", default="", metavar="ID", help="The tenant of that second exchange; default: the first one's."
)
@click.option(
    "--wait",
    type=Duration(),
    default="0s",
    show_default=True,
    help="Try again that long, while the answer may be one that passes, as after a change.",
)
@with_options(CLOUD)
@output.option
def exchange_command(**given: Any) -> None:  # noqa: ANN401  click's
    """Exchange a ServiceAccount's token for one of Microsoft Entra, as its pods do, and explain the answer.

    Tokens are not printed; what they say is.
    """
    if given["then_tenant_id"] and not given["then_client_id"]:
        raise UsageError("--then-client-id is required", "--then-tenant-id says in which tenant it is")
    with output.progress("asking for the assertion") as shown:
        cloud = target(given).cloud(os.environ)
        request, assertion = _prepared(given, cloud.audience, cloud.authority_host, cloud.arm_audience)
        polling = Polling(given["wait"], shown.update)
        hops = [_hop(_first(given, request, cloud.audience), assertion, polling)]
        if given["then_client_id"] and hops[0].failure is None:
            second = replace(
                request,
                client_id=given["then_client_id"],
                tenant_id=given["then_tenant_id"] or request.tenant_id,
                token_proxy=None,
            )
            hops.append(_hop(second, Assertion(hops[0].answer["access_token"]), polling))
    *earlier, last = [hop.document() for hop in hops]
    document = {**last, **({"first": earlier[0]} if earlier else {})}
    output.write(document, given["output_format"], lambda: _text(document))
    if hops[-1].failure:
        raise _explained(hops)


@dataclass(frozen=True, slots=True)
class Hop:
    """One exchange and what came of it; `answer` has a secret."""

    request: TokenRequest
    assertion: Assertion
    answer: JsonObject = field(default_factory=dict, repr=False)
    failure: RefusedError | None = None

    def document(self) -> JsonObject:
        """As machines get it."""
        request = {"url": self.request.url, "clientId": self.request.client_id, "scope": self.request.scope}
        outcome = _refused(self.failure) if self.failure else _accepted(self.answer)
        return {"request": request, "assertion": self.assertion.claims, **outcome}


def _hop(request: TokenRequest, assertion: Assertion, polling: Polling) -> Hop:
    polling.on_wait(f"asking {request.host}")
    try:
        answer = polling.attempt(
            "the credential",
            lambda: exchange.exchange(request, assertion),
            RefusedError,
            lambda error: error.is_transient,
        )
    except RefusedError as error:
        return Hop(request, assertion, failure=error)
    return Hop(request, assertion, answer)


def _first(given: Params, request: TokenRequest, audience: str) -> TokenRequest:
    """The first of two exchanges asks for a token that the second identity may trust."""
    return replace(request, scope=f"{audience}/.default") if given["then_client_id"] else request


def _explained(hops: Sequence[Hop]) -> CommandError:
    """The failure of the last exchange; of the second, what that one needs."""
    failure, last = hops[-1].failure, hops[-1]
    assert failure is not None  # noqa: S101  the caller has looked
    if len(hops) == 1:
        return failure
    request, refusal = last.request, failure.refusal
    return CommandError(
        f"the first exchange gave a token, and the second, for application {request.client_id} in tenant "
        f"{request.tenant_id}, is refused: {failure.message}",
        second_exchange.remedy(
            refusal.code, refusal.meaning, request.client_id, request.tenant_id, last.assertion.claims
        ),
    )


def _prepared(given: Params, audience: str, authority_host: str, arm: str) -> tuple[TokenRequest, Assertion]:
    name, proxy = given["service_account"], _token_proxy(given)
    if proxy and not given["audience"]:
        audience = names.BINDING_AUDIENCE
    if name:
        cluster = Cluster.connect(kube.ClusterTarget(given["kubeconfig"], given["context"], given["namespace"]))
        assertion, account = exchange.from_cluster(cluster, name, audience)
    elif given["token_file"]:
        assertion, account = exchange.from_file(given["token_file"]), Account()
    else:
        raise UsageError("--service-account is required", "or --token-file, which the webhook's pods have set")
    client_id, tenant_id = _identity(given, account)
    return TokenRequest(authority_host, tenant_id, client_id, given["scope"] or f"{arm}/.default", proxy), assertion


def _token_proxy(given: Params) -> TokenProxy | None:
    """Where the exchange of an identity binding is sent; None without --identity-binding, as SDKs do by default."""
    if not given["identity_binding"]:
        return None
    if not given["token_proxy"]:
        raise UsageError(
            "--token-proxy is required",
            f"the webhook sets {names.ENV_TOKEN_PROXY} in pods annotated {names.PREFIX}use-identity-binding",
        )
    url = https(given["token_proxy"], "--token-proxy")
    return TokenProxy(url, given["token_proxy_sni"], given["token_proxy_ca_file"])


def _accepted(answer: JsonObject) -> JsonObject:
    token = entra.claims(answer["access_token"], TOKEN_CLAIMS)
    return {"outcome": "accepted", "expiresIn": answer.get("expires_in"), "token": token}


def _refused(failure: RefusedError) -> JsonObject:
    refusal = failure.refusal
    return {
        "outcome": "refused",
        "error": refusal.error,
        "code": f"AADSTS{refusal.code}" if refusal.code else "",
        "description": refusal.description,
        "kind": str(refusal.meaning.kind),
        "remedy": refusal.meaning.remedy,
    }


def _text(document: JsonObject) -> str:
    rows: list[tuple[str, object]] = []
    if "first" in document:
        first = document["first"]
        rows += [("first asked", first["request"]["url"]), ("first client id", first["request"]["clientId"])]
        rows += [(f"first assertion {name}", first["assertion"].get(name, "")) for name in ("iss", "sub", "aud")]
        rows += [("first answer", first["outcome"])]
    rows += [("asked", document["request"]["url"])]
    rows += [("client id", document["request"]["clientId"]), ("scope", document["request"]["scope"])]
    rows += [(f"assertion {name}", _shown(name, value)) for name, value in document["assertion"].items()]
    rows += [("answer", f"{document['outcome']} {document.get('code', '')}".strip())]
    if "expiresIn" in document:
        rows += [("token lives", f"{document['expiresIn']} s")]
    rows += [(f"token {name}", _shown(name, value)) for name, value in document.get("token", {}).items()]
    return output.table(("what", "value"), rows)


def _shown(name: str, value: object) -> object:
    if name in ("iat", "exp") and isinstance(value, int):
        left = value - int(time.time())
        return f"{value} ({abs(left)} s {'from now' if left >= 0 else 'ago'})"
    return value
