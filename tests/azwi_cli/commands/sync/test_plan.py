"""What `azwi sync` plans for one identity."""

import re

import pytest

from azwi_cli.azure.federation import FederatedCredential, Trust
from azwi_cli.commands.sync.plan import Action, IdentityPlan, Rules, plan

ISSUER = "https://issuer.azwi.test/"
AUDIENCE = "api://AzureADTokenExchange"
RULES = Rules("git", ISSUER, prune=True)
WEB, API = Trust("shop", "web", ISSUER), Trust("shop", "api", ISSUER)


def credential(trust: Trust, name: str = "", audience: str = AUDIENCE) -> FederatedCredential:
    """Return the credential of a trust, by default of the owner `git`."""
    name = name or RULES.name(trust)
    return FederatedCredential(f"/{name}", name, trust.issuer, trust.subject, (audience,))


def planned(trusts: list[Trust], existing: list[FederatedCredential], rules: Rules = RULES) -> IdentityPlan:
    """Plan an identity."""
    return plan("id", "managed identity shop", trusts, existing, rules)


def actions(found: IdentityPlan) -> list[tuple[Action, str]]:
    """Return what is done to whom."""
    return [(change.action, change.account) for change in found.changes]


def test_from_nothing() -> None:
    """Each account gets a credential; once they are there nothing is left to do."""
    found = planned([WEB, API], [])
    assert actions(found) == [(Action.CREATE, "shop/web"), (Action.CREATE, "shop/api")]
    assert (found.before, found.after) == (0, 2)
    again = planned([WEB, API], [credential(WEB), credential(API)])
    assert (again.changes, again.in_place, again.problems) == ((), 2, ())


def test_of_somebody_else() -> None:
    """A credential that somebody else made for the same tokens is as good, and is never deleted."""
    manual = credential(WEB, "made-by-hand")
    assert planned([WEB], [manual]).in_place == 1
    assert planned([], [manual]).changes == ()


@pytest.mark.parametrize(
    ("name", "issuer"),
    [("azwi_github_x", ISSUER), ("azwi_git-2_x", ISSUER), ("azwi_git", ISSUER), ("", "https://other.azwi.test/")],
)
def test_only_what_is_owned_is_pruned(name: str, issuer: str) -> None:
    """Neither another owner's credentials are pruned, nor those of another cluster."""
    other = credential(Trust("pr-1", "web", issuer), name)
    assert planned([], [other]).changes == ()


def test_prune() -> None:
    """A credential without an account is deleted, first, since that makes room; without --prune it is only counted."""
    gone = credential(Trust("pr-1", "web", ISSUER))
    assert actions(planned([WEB], [gone])) == [(Action.DELETE, "pr-1/web"), (Action.CREATE, "shop/web")]
    kept = planned([WEB], [gone], Rules("git", ISSUER, prune=False))
    assert actions(kept) == [(Action.CREATE, "shop/web")]
    assert kept.unneeded == 1


def test_prune_of_one_namespace() -> None:
    """Where one namespace is looked at, others are not pruned."""
    gone = [credential(Trust(namespace, "web", ISSUER)) for namespace in ("pr-1", "pr-2")]
    assert actions(planned([], gone, Rules("git", ISSUER, prune=True, namespace="pr-2"))) == [
        (Action.DELETE, "pr-2/web")
    ]


def test_other_audience() -> None:
    """Another audience is changed in an own credential, and a problem in somebody else's."""
    assert actions(planned([WEB], [credential(WEB, audience="api://old")])) == [(Action.CHANGE, "shop/web")]
    found = planned([WEB], [credential(WEB, "made-by-hand", "api://old")])
    assert found.changes == ()
    assert "'made-by-hand' has the issuer and subject of shop/web" in found.problems[0]


def test_limit() -> None:
    """20 credentials fit, 21 are a problem; deletions count, and are proposed where they are not asked for."""
    accounts = [Trust("shop", f"web-{number}", ISSUER) for number in range(21)]
    gone = credential(Trust("pr-1", "web", ISSUER))
    assert planned(accounts[:20], []).problems == ()
    assert "would have 21 credentials, and Entra allows 20" in planned(accounts, []).problems[0]
    assert planned(accounts[:20], [gone]).problems == ()
    kept = planned(accounts[:20], [gone], Rules("git", ISSUER, prune=False))
    assert "--prune makes room for 1" in kept.problems[0]


@pytest.mark.parametrize("name", ["web", "w" * 253, "web.of.shop", "w"])
@pytest.mark.parametrize("owner", ["sync", "a", "x" * 24])
def test_names(owner: str, name: str) -> None:
    """Names are what both APIs take, and differ where the accounts do."""
    rules = Rules(owner, ISSUER, prune=True)
    trust, other = Trust("shop", name, ISSUER), Trust("shop", f"{name}-2", ISSUER)
    assert re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_-]{2,119}", rules.name(trust))
    assert rules.name(trust) != rules.name(other)
    assert rules.owns(credential(trust, rules.name(trust)))
