"""A pod's identity on this machine; with a cluster in tests/cluster/test_local.py."""
