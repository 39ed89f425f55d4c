"""Makes the imports of the server cheap: libraries load parts that it never uses.

Before they import anything else, webhook.runtime.main calls `collect_garbage_rarely`, webhook.runtime.server_process
`prepare`, and webhook.runtime.in_cluster `import_aiohttp`.
"""

import gc
import ssl
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from typing import Final

# Imports create hundreds of thousands of objects that stay, and a decoded review is thousands of maps without cycles.
# By default every few hundred of them start a collection, now and then of everything that is loaded.
GC_ALLOCATIONS: Final = 50_000
# Packages whose `__init__` imports more than the submodules in use, with the names that these import from there: the
# synchronous Kubernetes client with requests and oauthlib, a YAML library, and uvicorn's command line with click.
PACKAGES: Final[Mapping[str, Mapping[str, str]]] = {
    "kubernetes": {},
    "kubernetes.aio": {},
    "kubernetes.aio.config": {},
    "kubernetes.aio.utils": {},
    "uvicorn": {"Config": "uvicorn.config", "Server": "uvicorn.server"},
}


def collect_garbage_rarely() -> None:
    """Start few garbage collections, during imports and afterwards."""
    gc.set_threshold(GC_ALLOCATIONS)


def prepare() -> None:
    """Prepare the imports of the server; does nothing for what is imported already."""
    for package, names in PACKAGES.items():
        if package not in sys.modules:
            import_lazily(package, names)
    if "fastapi" not in sys.modules:
        import_fastapi()


def import_lazily(package: str, names: Mapping[str, str]) -> None:
    """Import a package, but run its `__init__` only when a name of it is used that is not a submodule.

    `names` are imported from the given submodules instead.
    """
    spec = find_spec(package)
    if spec is None or spec.loader is None:
        return  # the import that needs it raises the error
    loader, module = spec.loader, module_from_spec(spec)

    def get(name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in names:
            return getattr(import_module(names[name]), name)
        del module.__getattr__
        loader.exec_module(module)
        return getattr(module, name)

    module.__getattr__ = get  # type: ignore[method-assign]  # PEP 562
    sys.modules[package] = module
    parent, _, child = package.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)


def import_fastapi() -> None:
    """Import FastAPI without building its models of OpenAPI documents; pydantic does that at their first use."""
    with suppress(ModuleNotFoundError):  # the import that needs it raises the error
        from pydantic import BaseModel  # noqa: PLC0415  not before the process is the server's

        before = BaseModel.model_config
        BaseModel.model_config = {**before, "defer_build": True}
        try:
            import fastapi  # noqa: F401, PLC0415  for its effect
        finally:
            BaseModel.model_config = before


def import_aiohttp() -> None:
    """Import aiohttp without reading the system's CAs twice, for TLS contexts that no request here uses.

    A request that used one after all would trust nobody.
    """
    if "aiohttp" in sys.modules:
        return
    with suppress(ModuleNotFoundError):  # the import that needs it raises the error
        ssl.SSLContext.set_default_verify_paths = lambda _: None  # type: ignore[assignment]
        try:
            import aiohttp  # noqa: F401, PLC0415  for its effect
        finally:
            del ssl.SSLContext.set_default_verify_paths  # the inherited one, of _ssl, is visible again
