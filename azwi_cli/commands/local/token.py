"""A ServiceAccount's token in a file of this user, renewed by TokenRequest as the kubelet does it."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from azure_workload_identity import entra
from azwi_cli.cluster import kube
from azwi_cli.cluster.kube import ApiError, Cluster
from azwi_cli.commands.local.identity import PodIdentity
from azwi_cli.console.errors import CommandError

# The kubelet renews at 80% of the token's life.
RENEWAL_FRACTION: Final = 0.8
FIRST_PAUSE: Final = 5.0
LONGEST_PAUSE: Final = 60.0
# How often the clock is read: a laptop that slept wakes up with a token that has ended.
TICK_SECONDS: Final = 15.0
MODE: Final = 0o600
_FORBIDDEN: Final = 403
_REVIEWS: Final = "selfsubjectaccessreviews"


@dataclass(frozen=True, slots=True)
class Token:
    """A token, and how many seconds it lives by the clock of the cluster."""

    secret: str = field(repr=False)
    lifetime: float
    expires_at: str


def request_token(cluster: Cluster, identity: PodIdentity) -> Token:
    """A new token of the ServiceAccount.

    Raises:
        CommandError: when the cluster issues none, with the reason where the user may not create one.
    """
    where = identity.namespace, identity.service_account
    try:
        status = cluster.token(*where, identity.audience, identity.seconds)
    except ApiError as error:
        if error.status == _FORBIDDEN:
            raise forbidden(identity, error.message.removeprefix("the API server answered: ")) from error
        raise
    secret = str(status.get("token", ""))
    claims = entra.claims(secret, ("iat", "exp"))
    lifetime = int(claims.get("exp", 0)) - int(claims.get("iat", 0))
    return Token(secret, float(max(lifetime, 0)), str(status.get("expirationTimestamp", "")))


def forbidden(identity: PodIdentity, reason: str) -> CommandError:
    """The error of a user who may not create tokens, with the commands that allow it."""
    namespace, account = identity.namespace, identity.service_account
    role = f"azwi-token-{account}"
    return CommandError(
        f"you may not create tokens of ServiceAccount {namespace}/{account}: {reason}",
        "an administrator of the namespace allows it with\n"
        f"kubectl -n {namespace} create role {role} --verb=create --resource=serviceaccounts/token "
        f"--resource-name={account}\n"
        f"kubectl -n {namespace} create rolebinding {role} --role={role} --user=YOU",
    )


def check_allowed(cluster: Cluster, identity: PodIdentity) -> None:
    """Ask whether this user may create tokens; nothing is created.

    Raises:
        CommandError: when not.
    """
    attributes = {
        "namespace": identity.namespace,
        "verb": "create",
        "resource": "serviceaccounts",
        "subresource": "token",
        "name": identity.service_account,
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = cluster.create(kube.path("authorization.k8s.io/v1", _REVIEWS), review)
    status = answer.get("status") or {}
    if not status.get("allowed"):
        raise forbidden(identity, str(status.get("reason") or "no role allows it"))


class TokenFile:
    """The file: readable by this user only, replaced atomically, removed when it is closed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._closed = False

    def write(self, secret: str) -> None:
        """Replace the content; nothing is written once it is closed.

        Raises:
            CommandError: when it cannot be written.
        """
        fresh = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        with self._lock:
            if self._closed:
                return
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                fresh.unlink(missing_ok=True)  # of a process of that number that was killed
                with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE), "w") as opened:
                    opened.write(secret)
                fresh.replace(self.path)
            except OSError as error:
                fresh.unlink(missing_ok=True)
                raise CommandError(f"{self.path} cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Remove it."""
        with self._lock:
            self._closed = True
            self.path.unlink(missing_ok=True)


class Renewal:
    """Writes a new token before the old one ends, in a thread.

    Args:
        request: gets a new token.
        file: where it is written.
        every: seconds between renewals; 0 means by the token's life.
        on_problem: is called once for each new problem, and the token is asked for again.
    """

    def __init__(
        self, request: Callable[[], Token], file: TokenFile, every: float, on_problem: Callable[[str], None]
    ) -> None:
        self._request = request
        self._file = file
        self._every = every
        self._on_problem = on_problem
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="renewal", daemon=True)
        self._lifetime = 0.0
        self._problem = ""

    def start(self) -> Token:
        """Write the first token, and renew it from then on.

        Raises:
            CommandError: when there is none.
        """
        token = self.write_once()
        self._thread.start()
        return token

    def write_once(self) -> Token:
        """Write a token, and renew it no further.

        Raises:
            CommandError: when there is none.
        """
        token = self._request()
        self._file.write(token.secret)
        self._lifetime = token.lifetime
        return token

    @property
    def path(self) -> Path:
        """Where the token is."""
        return self._file.path

    def close(self) -> None:
        """Renew no more and remove the file; a request that is on its way writes nothing."""
        self._stop.set()
        self._file.close()

    def _run(self) -> None:
        while not self._wait(self._every or self._lifetime * RENEWAL_FRACTION):
            pause = FIRST_PAUSE
            while not self._attempt():
                if self._stop.wait(pause):
                    return
                pause = min(2 * pause, LONGEST_PAUSE)

    def _attempt(self) -> bool:
        try:
            self.write_once()
        except CommandError as error:
            if error.message != self._problem and not self._stop.is_set():
                self._on_problem(f"the token is not renewed: {error.message}")
            self._problem = error.message
            return False
        self._problem = ""
        return True

    def _wait(self, seconds: float) -> bool:
        """Wait by both clocks, whichever is first: one stands still in sleep, the other may be set back."""
        until, until_by_day = time.monotonic() + seconds, time.time() + seconds
        while (left := min(until - time.monotonic(), until_by_day - time.time())) > 0:
            if self._stop.wait(min(left, TICK_SECONDS)):
                return True
        return self._stop.is_set()


def readable_time(timestamp: str) -> str:
    """A time of the API in local time; as it is where it is none."""
    try:
        return datetime.fromisoformat(timestamp).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except ValueError:
        return timestamp
