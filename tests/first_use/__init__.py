"""A stranger's first use, from the files of a release alone: `make first-use`.

`machine` is a fresh container with what a stranger has and nothing of this repository; `manual` reads the commands of a
page of the manual; `__main__` runs them there, against a Kubernetes node that pulls the image from a registry.
"""
