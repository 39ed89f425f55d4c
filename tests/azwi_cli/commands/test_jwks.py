"""`azwi jwks`."""

from pathlib import Path

import pytest

from tests.azwi_cli.issuer.test_keys import EC, RSA, public_pem
from tests.azwi_cli.test_main import azwi
from tests.support.schemas import follows_schema


@pytest.fixture
def pem(tmp_path: Path) -> dict[str, str]:
    """Write two keys and return their files."""
    for name, key in (("old", RSA), ("new", EC)):
        (tmp_path / f"{name}.pub").write_bytes(public_pem(key))
    return {name: str(tmp_path / f"{name}.pub") for name in ("old", "new")}


def kids(text: str) -> list[str]:
    """Return the kids of a JWKS."""
    return [key["kid"] for key in follows_schema("jwks", text)["keys"]]


def test_order(pem: dict[str, str]) -> None:
    """Keys have the order in which they are given, by comma or by flag, and each is there once."""
    both = kids(azwi("jwks", f"--public-keys={pem['old']},{pem['new']}").stdout)
    assert len(both) == 2
    assert kids(azwi("jwks", "--public-keys", pem["new"], "--public-keys", pem["old"]).stdout) == both[::-1]
    assert kids(azwi("jwks", f"--public-keys={pem['old']},{pem['old']}").stdout) == both[:1]


def test_rotation(pem: dict[str, str], tmp_path: Path) -> None:
    """A rotation keeps the published key beside the new one, and later drops it."""
    file = tmp_path / "site" / "jwks.json"
    assert azwi("jwks", "--public-keys", pem["old"], "--output-file", str(file)).stdout == ""
    [old] = kids(file.read_text())

    azwi("jwks", "--keep", str(file), "--public-keys", pem["new"], "--output-file", str(file))
    [first, new] = kids(file.read_text())
    assert first == old

    assert azwi("jwks", "--keep", str(file), "--drop", old, "--output-file", str(file)).exit_code == 0
    assert kids(file.read_text()) == [new]


def test_drop(pem: dict[str, str]) -> None:
    """A kid that is not there is not dropped, nor is the last one."""
    unknown = azwi("jwks", "--public-keys", pem["old"], "--drop", "none")
    assert unknown.exit_code == 1
    [kid] = kids(azwi("jwks", "--public-keys", pem["old"]).stdout)
    assert kid in unknown.stderr
    assert azwi("jwks", "--public-keys", pem["old"], "--drop", kid).exit_code == 1


def test_table(pem: dict[str, str]) -> None:
    """People get kid, algorithm and origin."""
    [heading, line] = azwi("jwks", "-o", "table", "--public-keys", pem["old"]).stdout.splitlines()
    assert heading.split() == ["KID", "ALGORITHM", "FROM"]
    assert line.split()[1:] == ["RS256", pem["old"]]


def test_no_keys() -> None:
    """Without a source it is wrong usage, and the sources are named."""
    done = azwi("jwks")
    assert done.exit_code == 2
    assert "--public-keys" in done.stderr


def test_doubt(pem: dict[str, str]) -> None:
    """A key that Entra may not take is warned of beside the result."""
    done = azwi("jwks", "--public-keys", pem["new"])
    assert len(kids(done.stdout)) == 1
    assert "RS256" in done.stderr


def test_unwritable(pem: dict[str, str], tmp_path: Path) -> None:
    """A file that cannot be written is named."""
    done = azwi("jwks", "--public-keys", pem["old"], "--output-file", f"{tmp_path}/old.pub/jwks")
    assert done.exit_code == 1
    assert "cannot be written" in done.stderr
