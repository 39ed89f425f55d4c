"""The whole path on a real node: image, Helm, pods that get tokens. Only Azure is emulated, outside of the node."""
