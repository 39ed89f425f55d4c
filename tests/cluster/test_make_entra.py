"""The manual's exchange with the tokens of a cluster."""

import json
from pathlib import Path

from azure_workload_identity import names
from testbed.cluster.control_plane import ControlPlane
from tests.testbed.entra.test_program import follow, started


def test_own_cluster(control_plane: ControlPlane, tmp_path: Path) -> None:
    """With what kubectl shows of the issuer, and a token that kubectl makes, the emulator gives an access token."""
    namespace = control_plane.create_namespace()
    issuer = json.loads(control_plane.kubectl("get", "--raw", "/.well-known/openid-configuration").stdout)["issuer"]
    keys = tmp_path / "jwks.json"
    keys.write_text(control_plane.kubectl("get", "--raw", "/openid/v1/jwks").stdout)
    trust = (f"--issuer={issuer}", f"--jwks={keys}", f"--subject=system:serviceaccount:{namespace}:default")

    with started(tmp_path / "log", *trust, f"--directory={tmp_path}") as (_, introduction):
        token = control_plane.kubectl(
            "create", "token", "default", f"--namespace={namespace}", f"--audience={names.DEFAULT_AUDIENCE}"
        )
        (tmp_path / "assertion").write_text(token.stdout.strip())
        answer = json.loads(follow(introduction))

    assert "access_token" in answer, answer
