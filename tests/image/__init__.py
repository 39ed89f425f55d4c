"""The image: what its Dockerfile says, what is in it, and that its programs run."""
