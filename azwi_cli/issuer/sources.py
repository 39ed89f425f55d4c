"""Where the public keys of an issuer come from: PEM files, published JWKS files, the cluster's API server."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from azwi_cli.cluster import options as cluster_flags
from azwi_cli.cluster.kube import Cluster, ClusterTarget
from azwi_cli.console import output
from azwi_cli.console.errors import CommandError
from azwi_cli.issuer import discovery, keys
from azwi_cli.issuer.keys import Key

NO_KEYS: Final = "no keys: give --public-keys FILE, --keep FILE or --from-cluster; azwi jwks --help has examples"

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the keys come from: PEM files, published JWKS files, the cluster that `target` names; and kids to leave."""

    public_keys: Sequence[Path] = ()
    keep: Sequence[Path] = ()
    from_cluster: bool = False
    drop: Sequence[str] = ()
    target: ClusterTarget = field(default_factory=ClusterTarget)

    def read(self, published: Sequence[tuple[Key, str]] = ()) -> list[tuple[Key, str]]:
        """The keys, each once and with its origin; what has been published comes first, above all `published`.

        Raises:
            CommandError: when a source cannot be read, a kid to leave is not there, or nothing remains.
        """
        if not (self.public_keys or self.keep or self.from_cluster):
            raise click.UsageError(NO_KEYS)
        found: dict[str, tuple[Key, str]] = {}
        for key, origin in (*published, *self._all()):
            found.setdefault(key.kid, (key, origin))
        for kid in self.drop:
            if found.pop(kid, None) is None:
                raise CommandError(f"there is no key {kid!a} to drop", f"there are {', '.join(found)}")
        if not found:
            raise CommandError("no key remains", "drop the old key only when the new one is there, too")
        return list(found.values())

    def _all(self) -> Iterator[tuple[Key, str]]:
        for file in self.keep:
            yield from ((key, str(file)) for key in keys.read_jwks(file))
        if self.from_cluster:
            with output.progress("reading the cluster's keys"):
                document = Cluster.connect(self.target).get(discovery.JWKS_PATH)
            yield from ((key, "cluster") for key in keys.parse_jwks(document, "the cluster's JWKS"))
        for file in self.public_keys:
            yield from ((key, str(file)) for key in keys.read_pem(file))


def _files(_context: click.Context, _parameter: click.Parameter, given: Sequence[str]) -> list[Path]:
    """Comma lists and repeated flags, as v1.6.0 takes both."""
    return [Path(name.strip()) for text in given for name in text.split(",") if name.strip()]


def options(command: Decorated) -> Decorated:
    """Add the options of `Sources` to a command."""
    for decorate in (
        cluster_flags.cluster_options,
        click.option("--drop", multiple=True, metavar="KID", help="Leave this key out: the end of a rotation."),
        click.option("--from-cluster", is_flag=True, help="Take the keys that the cluster's API server publishes."),
        click.option(
            "--keep",
            multiple=True,
            metavar="JWKS",
            type=click.Path(allow_dash=True),
            callback=_files,
            help="Keep the keys of this published JWKS: the beginning of a rotation.",
        ),
        click.option(
            "--public-keys",
            multiple=True,
            metavar="PEM",
            type=click.Path(allow_dash=True),
            callback=_files,
            help="Key or certificate in PEM; of a private key only the public half is used. Comma list, repeatable.",
        ),
    ):
        command = decorate(command)
    return command


def document(found: Sequence[tuple[Key, str]]) -> dict[str, Any]:
    """The JWKS."""
    return {"keys": [dict(key.jwk) for key, _ in found]}


def warn(found: Sequence[tuple[Key, str]]) -> None:
    """Warn of keys that Entra may not accept."""
    for key, _ in found:
        for doubt in key.doubts():
            output.warn(doubt)
