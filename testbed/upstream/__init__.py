"""A stand-in for azure-workload-identity v1.6.0: its chart's objects, and a server that starts, rotates and stops so.

For tests of the migration, where its image is not available.
"""
