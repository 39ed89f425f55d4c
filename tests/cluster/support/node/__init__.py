"""One whole Kubernetes node on this machine, in mount, network and PID namespaces of its own.

`configuration` writes its files, `init.sh` is its PID 1, `node` brings it up and down, `archive` packs its images and
`needs` says what this machine lacks for it. There is one a machine: its addresses and its cgroup are fixed.
"""
