"""The manual's programs read a secret, as they stand in it, with the SDKs unmodified."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from starlette.types import ASGIApp

from azure_workload_identity import names
from testbed.entra import Entra, FederatedCredential, Issuer, entra
from testbed.key_vault import KeyVault
from testbed.pods import CLIENT_ID, OTHER_CLIENT_ID, TENANT_ID
from testbed.program import ROOT
from tests.clients.programs import CACHE
from tests.support import netns
from tests.support.proxied import LOGIN, SUBJECT

pytestmark = pytest.mark.clients

PAGE: Final = (ROOT / "docs" / "install" / "first-pod.md").read_text()
VAULT: Final = "shop-quickstart.vault.azure.net"
SECRET: Final = "hello"
BUILT: Final = {
    "go": CACHE / "go-greeting" / "stamp",
    "java": CACHE / "java-greeting" / "stamp",
    "js": CACHE / "javascript" / "stamp",
}


def shown(language: str) -> str:
    """Return the page's program in a language."""
    (program,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(program)


@dataclass(frozen=True)
class Shop:
    """A pod's network with Entra and the vault, and the variables that are injected into the pod."""

    network: netns.Network
    vault: KeyVault
    directory: Path
    env: dict[str, str]

    def run(self, language: str, client_id: str = CLIENT_ID) -> "subprocess.CompletedProcess[str]":
        """Run the page's program in the pod."""
        env = {**self.env, names.ENV_CLIENT_ID: client_id, "HOME": str(self.directory)}
        return self.network.pod.run(*self._command(language), env=env, seconds=240)

    def _command(self, language: str) -> list[str]:
        if language == "go":
            return [str(CACHE / "go-greeting" / "greeting")]
        if language == "java":
            trust = [
                f"-Djavax.net.ssl.trustStore={self.directory / 'trust.p12'}",
                "-Djavax.net.ssl.trustStorePassword=azwi-test",
            ]
            classes = f"{CACHE / 'java-greeting'}:{CACHE / 'java' / 'lib'}/*"
            return [
                "java",
                "-XX:+UseSerialGC",
                "-Xmx256m",
                "-XX:TieredStopAtLevel=1",
                *trust,
                "-cp",
                classes,
                "Greeting",
            ]
        program = self.directory / ("greeting.mjs" if language == "js" else "greeting.py")
        program.write_text(shown(language))
        return ["node" if language == "js" else sys.executable, str(program)]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Run Entra and the vault beside a pod whose identity may read the secret."""
    netns.require()
    directory, issuer = tmp_path_factory.mktemp("shop"), Issuer()
    vaults: list[KeyVault] = []

    def vault(emulator: Entra) -> ASGIApp:
        authority = f"{emulator.url}/{TENANT_ID}"
        vaults.append(KeyVault(VAULT, authority, {"greeting": SECRET}, frozenset({CLIENT_ID}), emulator.verify))
        return vaults[-1].app()

    with netns.network(LOGIN, VAULT) as network:
        listener = network.node.listen(("0.0.0.0", 443))  # noqa: S104  of the node's namespace
        with entra(directory, LOGIN, listener, resources={VAULT: vault}) as emulator:
            emulator.trust(issuer.url, issuer.jwks)
            for client_id in (CLIENT_ID, OTHER_CLIENT_ID):
                emulator.register(TENANT_ID, client_id, FederatedCredential(issuer.url, SUBJECT))
            token_file = directory / "azure-identity-token"
            token_file.write_text(issuer.token(SUBJECT))
            trust(emulator.ca_file, directory)
            env = {
                names.ENV_TENANT_ID: TENANT_ID,
                names.ENV_TOKEN_FILE: str(token_file),
                names.ENV_AUTHORITY_HOST: f"https://{LOGIN}/",
                "KEYVAULT_URL": f"https://{VAULT}/",
                **dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"), str(emulator.ca_file)),
            }
            yield Shop(network, vaults[0], directory, env)


def trust(ca_file: Path, directory: Path) -> None:
    """Prepare what Java and Node need beside variables: a trust store, and the packages beside the program."""
    (directory / "node_modules").symlink_to(CACHE / "javascript" / "node_modules")
    if shutil.which("keytool"):
        store = ["-keystore", str(directory / "trust.p12"), "-storetype", "PKCS12", "-storepass", "azwi-test"]
        command = ["keytool", "-importcert", "-noprompt", "-alias", "ca", "-file", str(ca_file), *store]
        subprocess.run(command, check=True, capture_output=True)


def test_programs(shop: Shop) -> None:
    """Each program prints the secret, after a first request that is answered by the challenge."""
    missing = [language for language, file in BUILT.items() if not file.exists()]
    if missing and os.environ.get("REQUIRE_CLIENTS") == "1":
        pytest.fail(f"programs are missing: {missing}")
    languages = [language for language in ("python", *BUILT) if language not in missing]
    with ThreadPoolExecutor(len(languages)) as pool:
        done = list(pool.map(shop.run, languages))
    assert [one.stderr for one in done if one.returncode] == []
    assert [one.stdout for one in done] == [f"{SECRET}\n"] * len(languages)
    assert sorted(shop.vault.statuses) == [200] * len(languages) + [401] * len(languages)


def test_not_allowed(shop: Shop) -> None:
    """An identity without the role gets the vault's error."""
    done = shop.run("python", OTHER_CLIENT_ID)
    assert done.returncode == 1
    assert "ForbiddenByRbac" in done.stderr
