"""One whole Kubernetes node on this machine, in mount, network and PID namespaces of its own.

`configuration` writes its files, `init.sh` is its PID 1, `node` starts and stops it, `archive` packs images and `needs`
lists missing requirements. AZWI_NODE numbers the nodes of a machine: their addresses, cgroups and directories differ.
"""
