"""Counters in Prometheus' text format. The client library would cost 5 MiB in every pod that has the proxy."""

import os
from collections import Counter
from collections.abc import Iterator
from typing import Final

from azure_workload_identity import __version__
from azure_workload_identity.entra import Kind

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
SUCCESS: Final = "success"
PATHS: Final = ("token", "pass-through", "refused")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Metrics:
    """The counters of one proxy. Every label has a fixed set of values."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._exchanges: Counter[str] = Counter(dict.fromkeys((SUCCESS, *Kind), 0))
        self._exchange_seconds = 0.0

    def record_request(self, path: str, status: int) -> None:
        """Count a request by one of PATHS and the status of its response."""
        self._requests[path, status] += 1

    def record_exchange(self, result: str, seconds: float) -> None:
        """Count an attempt to get a token from Microsoft Entra: `success`, or the kind of its error."""
        self._exchanges[result] += 1
        self._exchange_seconds += seconds

    def text(self, tokens: int) -> bytes:
        """All metrics, with the number of cached tokens."""
        return "".join(f"{line}\n" for line in self._lines(tokens)).encode()

    def _lines(self, tokens: int) -> Iterator[str]:
        yield from _head("azwi_proxy_requests_total", "counter", "Requests by path and HTTP status")
        for (path, status), count in sorted(self._requests.items()):
            yield f'azwi_proxy_requests_total{{path="{path}",status="{status}"}} {count}'
        yield from _head(
            "azwi_proxy_exchanges_total", "counter", "Attempts to get a token from Microsoft Entra, by result"
        )
        for result, count in sorted(self._exchanges.items()):
            yield f'azwi_proxy_exchanges_total{{result="{result}"}} {count}'
        name = "azwi_proxy_exchange_seconds"
        yield from _head(name, "summary", "Duration of these attempts")
        yield f"{name}_sum {self._exchange_seconds:.6f}"
        yield f"{name}_count {self._exchanges.total()}"
        yield from _head("azwi_proxy_tokens", "gauge", "Cached tokens")
        yield f"azwi_proxy_tokens {tokens}"
        yield from _head("process_resident_memory_bytes", "gauge", "Resident memory size in bytes")
        yield f"process_resident_memory_bytes {_resident()}"
        yield from _head("azwi_build_info", "gauge", "The running version")
        yield f'azwi_build_info{{version="{__version__}"}} 1'


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def _resident() -> int:
    with open("/proc/self/statm") as file:  # noqa: PTH123  pathlib is 0.6 MiB
        return int(file.read().split()[1]) * _PAGE
