"""What the server's process imports."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import trustme

from webhook.runtime.imports import import_lazily

IN_CLUSTER = """
import sys
from webhook.runtime import main, server_process
from webhook.runtime import in_cluster, lifecycle

lifecycle.health_app(str)
lifecycle.metrics_app(in_cluster.Metrics())
heavy = {"click", "cryptography", "dns", "jsonpatch", "kubernetes.client", "multiprocessing", "oauthlib", "pydantic.v1",
         "requests", "rich", "urllib3", "websocket", "yaml"}
print(sorted(heavy & sys.modules.keys()))

import kubernetes, uvicorn
from fastapi.openapi.models import OpenAPI

print(kubernetes.client.V1Pod.__name__, uvicorn.Config.__name__, uvicorn.run.__name__)
print(OpenAPI.model_validate({"openapi": "3.1.0", "info": {"title": "API", "version": "1"}, "paths": {}}).info.title)
"""


def test_a_server_in_a_cluster_loads_no_more_than_it_uses() -> None:
    """Some 13 MiB of what its libraries would load stay unloaded, and work where they are used after all."""
    done = subprocess.run([sys.executable, "-c", IN_CLUSTER], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "V1Pod Config run", "API"]


SYSTEM_CAS = """
import ssl
from webhook.runtime import in_cluster, server_process
from aiohttp.connector import _SSL_CONTEXT_UNVERIFIED, _SSL_CONTEXT_VERIFIED

print([context.cert_store_stats()["x509"] for context in (_SSL_CONTEXT_UNVERIFIED, _SSL_CONTEXT_VERIFIED)])
print(_SSL_CONTEXT_VERIFIED.verify_mode.name, ssl.create_default_context().cert_store_stats()["x509"])
"""


def test_loading_the_server_reads_no_system_cas(tmp_path: Path) -> None:
    """The TLS contexts that aiohttp creates have none, and trust nobody; those that are created later have them."""
    bundle = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(bundle)
    environment = {**os.environ, "SSL_CERT_FILE": str(bundle)}
    done = subprocess.run(
        [sys.executable, "-c", SYSTEM_CAS], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout == "[0, 0]\nCERT_REQUIRED 1\n"


REFUSED = """
import sys
from webhook.runtime.main import main

print(main(["--no-such-flag"]), sorted({"aiohttp", "fastapi", "uvicorn", "uvloop"} & sys.modules.keys()))
"""


def test_a_wrong_flag_is_refused_before_the_server_is_loaded() -> None:
    """Whoever mistypes a flag does not wait for what only a server needs."""
    done = subprocess.run([sys.executable, "-c", REFUSED], capture_output=True, text=True, check=True)
    assert done.stdout == "2 []\n"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package that records whether its `__init__` ran, with a submodule."""
    name = "lazily_imported"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("loaded = True\n")
    (tmp_path / name / "part.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for module in (name, f"{name}.part"):
        monkeypatch.setitem(sys.modules, module, None)  # so that both are gone again afterwards
        monkeypatch.delitem(sys.modules, module)
    return name


def test_submodules_and_given_names_load_without_the_package(package: str) -> None:
    """Neither a submodule nor a name that is known to be in one runs the package's own code."""
    import_lazily(package, {"value": f"{package}.part"})
    module = import_module(package)
    assert import_module(f"{package}.part").value == 1
    assert module.value == 1
    assert not hasattr(module, "__all__")
    assert "loaded" not in vars(module)


def test_any_other_name_loads_the_package(package: str) -> None:
    """A name that only the package's own code defines is there."""
    import_lazily(package, {})
    assert import_module(package).loaded


def test_a_package_that_is_not_installed(package: str) -> None:
    """The import that needs it raises the usual error, not the preparation."""
    import_lazily(f"{package}.missing", {})
    with pytest.raises(ModuleNotFoundError, match=r"lazily_imported\.missing"):
        import_module(f"{package}.missing")
