"""What may be published below an issuer: public keys only, and no more of them than Entra reads."""

from collections.abc import Iterator, Sequence
from typing import Final

from azure_workload_identity.types import JsonObject
from azwi_cli.console.errors import CommandError
from azwi_cli.issuer import discovery
from azwi_cli.issuer.keys import Key

# https://learn.microsoft.com/entra/workload-id/workload-identity-federation#how-it-works: Entra stores the first 100.
MAX_KEYS: Final = 100
# Public members of RSA and EC keys: RFC 7517 section 4, RFC 7518 sections 6.2.1 and 6.3.1.
_PUBLIC_MEMBERS: Final = frozenset(
    {"kty", "use", "key_ops", "alg", "kid", "x5u", "x5c", "x5t", "x5t#S256", "n", "e", "crv", "x", "y"}
)
_MAX_SHOWN: Final = 200


def check_keys(keys: Sequence[Key]) -> None:
    """Check that the keys can be published.

    Raises:
        CommandError: when one has a member that is not a public one, or there are more than Entra reads.
    """
    for key in keys:
        if unknown := key.jwk.keys() - _PUBLIC_MEMBERS:
            raise CommandError(
                f"key {key.kid!a} has members that no public key has: {_shown(sorted(unknown))}",
                "remove them; if one of them is a secret, replace the key",
            )
    if len(keys) > MAX_KEYS:
        raise CommandError(
            f"there are {len(keys)} keys, and Entra reads the first {MAX_KEYS}",
            "leave out those that sign nothing any more with --drop KID",
        )


def check_issuer(found: JsonObject, issuer: str, where: str) -> None:
    """Check that what is published there belongs to the same issuer.

    Raises:
        CommandError: when it names another one.
    """
    if found.get("issuer") != issuer:
        raise CommandError(
            f"{where} is the document of the issuer {_shown(found.get('issuer'))}, not of {issuer!a}",
            "publish this issuer elsewhere, or delete that document first if its tokens are no longer used",
        )


def differences(configuration: JsonObject, jwks: JsonObject) -> Iterator[str]:
    """What the issuer's URL serves, as Entra reads it, compared with both documents; empty when it serves them."""
    issuer = configuration["issuer"]
    try:
        found = discovery.fetch(discovery.configuration_url(issuer))
        for member, wanted in configuration.items():
            if found.get(member) != wanted:
                url = discovery.configuration_url(issuer)
                yield f"{url} has {member} {_shown(found.get(member))} instead of {_shown(wanted)}"
        keys = discovery.fetch(configuration["jwks_uri"]).get("keys")
    except CommandError as error:
        yield error.message
        return
    served = {key.get("kid"): key for key in keys if isinstance(key, dict)} if isinstance(keys, list) else {}
    wanted_keys = {key["kid"]: key for key in jwks["keys"]}
    for kid, key in wanted_keys.items():
        if served.get(kid) != key:
            yield f"{configuration['jwks_uri']} {'has another' if kid in served else 'lacks the'} key {kid}"
    if more := served.keys() - wanted_keys:
        yield f"{configuration['jwks_uri']} still has the keys {_shown(sorted(map(str, more)))}"


def _shown(value: object) -> str:
    return f"{value!a}"[:_MAX_SHOWN]
