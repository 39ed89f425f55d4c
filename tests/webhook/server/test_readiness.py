"""Whether admissions can be answered."""

import ssl
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import cast

import pytest

from azure_workload_identity.cluster.client import Cluster
from azure_workload_identity.cluster.watch import ObjectMeta, WebhookConfiguration
from certs.api_clock import ApiClock
from certs.authority import issue, make_authority
from certs.ca_bundle import CaBundle
from certs.key_pair import KeyPair
from certs.serving import ServingContext
from tests.certs.test_handshake import FixedSource
from webhook.server.readiness import Readiness

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)
CA = make_authority("CA", NOW, HOUR)


def serving(now: datetime = NOW) -> ServingContext:
    """Serve a leaf for the webhook's Service."""
    return ServingContext(FixedSource(issue(CA, ["webhook.system.svc"], now, HOUR)), ssl.TLSVersion.TLSv1_3)


def bundle(pem: bytes | None, clock: ApiClock | None = None) -> CaBundle:
    """Describe a webhook configuration that carries this caBundle, or none that is there."""
    made = CaBundle(cast("Cluster", None), "config", lambda: None, lambda: None, clock)
    if pem is not None:
        client = {"service": {"name": "webhook", "namespace": "system"}, "caBundle": b64encode(pem).decode()}
        made.apply(WebhookConfiguration(ObjectMeta("config"), [{"clientConfig": client}]))
    return made


def readiness(*bundles: CaBundle, required: bool = False, context: Callable[[], ServingContext] = serving) -> Readiness:
    """Describe a server that serves."""
    made = Readiness(bundles, bundles_required=required)
    made.serve(context())
    return made


def test_before_anything_is_served() -> None:
    """Without a certificate nothing is ready."""
    assert Readiness().unready_reason() == "no certificate is served yet"
    waiting = Readiness(failure=lambda: "the API server does not let the webhook GET Secret a/b")
    assert waiting.unready_reason().startswith("no certificate is served yet: the API server does not let")


def test_ready() -> None:
    """With a certificate that the caBundle trusts the server is ready."""
    assert readiness().unready_reason() == ""
    assert readiness(bundle(CA.certificate), required=True).unready_reason() == ""


def test_expired() -> None:
    """An expired certificate is not served to anybody who would take it."""
    assert "the certificate expired at" in readiness(context=lambda: serving(NOW - 3 * HOUR)).unready_reason()


def test_caBundle_that_does_not_fit() -> None:  # noqa: N802  the API's word
    """With a caBundle that does not trust the certificate the server is not ready, until it does."""
    carried = bundle(make_authority("stranger", NOW, HOUR).certificate)
    made = readiness(carried)
    assert "MutatingWebhookConfiguration config: unable to get local issuer" in made.unready_reason()
    fitting = bundle(CA.certificate)
    carried._configuration = fitting._configuration
    assert made.unready_reason() == ""


@pytest.mark.parametrize(("required", "said"), [(True, "config is not there"), (False, "")])
def test_missing_configuration(required: bool, said: str) -> None:  # noqa: FBT001  a parameter of the test
    """A configuration that is not there keeps a server from being ready only where it writes the caBundle itself."""
    assert said in readiness(bundle(None), required=required).unready_reason()
    assert bool(readiness(bundle(None), required=required).unready_reason()) is required


def test_draining() -> None:
    """A server that is about to stop is not ready."""
    made = readiness()
    made.drain()
    assert made.unready_reason() == "the server is stopping"


def test_reasons_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """That it is not ready, why, and that it is, is logged when it changes."""
    caplog.set_level("INFO")
    made = Readiness()
    made.unready_reason()
    made.unready_reason()
    made.serve(serving())
    made.unready_reason()
    assert caplog.messages == ["not ready: no certificate is served yet", "ready"]


def test_pair_has_no_key_in_its_representation() -> None:
    """A pair can be logged."""
    assert "PRIVATE" not in repr(KeyPair(CA.certificate, CA.key))


@pytest.mark.parametrize("days", [-60, 60])
def test_clock_that_deviates(days: int) -> None:
    """Whether a certificate is valid is decided by the API server's clock, however wrong this machine's is."""
    now = NOW + timedelta(days=days)
    authority = make_authority("CA", now, HOUR)
    clock = ApiClock()
    clock.set(format_datetime(now, usegmt=True))

    def ready(issued: datetime) -> str:
        pair = issue(authority, ["webhook.system.svc"], issued, HOUR)
        made = Readiness((bundle(authority.certificate, clock),), bundles_required=True, now=clock.now)
        made.serve(ServingContext(FixedSource(pair), ssl.TLSVersion.TLSv1_3))
        return made.unready_reason()

    assert ready(now) == ""
    assert ready(now - 2 * HOUR).startswith("the certificate expired at")
