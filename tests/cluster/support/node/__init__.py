"""One whole Kubernetes node on this machine, in mount, network and PID namespaces of its own.

`configuration` writes its files, `init.sh` is its PID 1, `node` starts and stops it, `archive` packs images and `needs`
lists missing requirements. There can be one per machine: its addresses and its cgroup are fixed.
"""
