"""End-to-end tests on a real node: image, Helm, pods that get tokens. Only Azure is emulated, outside the node."""
