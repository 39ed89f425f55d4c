"""The clocks of the proxy."""

import time

from imds_proxy.clock import Clock


def test_lifetimes_are_measured_by_a_clock_that_is_never_set() -> None:
    """It is the one that counts since the machine started, suspended time included; the time of day is another."""
    clock = Clock()
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= clock.monotonic() <= time.clock_gettime(time.CLOCK_BOOTTIME)
    assert abs(clock.unix() - time.time()) < 86400
    assert 0 <= clock.random() < 1
