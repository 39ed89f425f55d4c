"""The webhook under a real kube-apiserver: what `kubectl` users and admins see."""
