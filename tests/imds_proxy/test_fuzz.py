"""A short part of the proxy's fuzz run; `make fuzz-proxy` is the long one."""

from tests import fuzz_proxy


def test_streams() -> None:
    """Mutated HTTP streams lead to no 5xx, error or growth, and a client gets its token afterwards."""
    result = fuzz_proxy.run(300, seed=7)
    assert (result.errors, result.gives_tokens) == ([], True)
    assert result.growth < fuzz_proxy.MAX_GROWTH_KIB
