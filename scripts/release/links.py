"""Links in texts that leave the repository with a release."""

import posixpath

from scripts.write_site import LINK


def absolute(text: str, folder: str, repository: str) -> str:
    """Return a Markdown text of a folder of the repository with links that work elsewhere.

    Args:
        text: the text, with links relative to its folder.
        folder: the folder, relative to the root of the repository; "" is the root.
        repository: the public address of the root in the version that is released.
    """
    return LINK.sub(
        lambda link: f"]({repository}/{posixpath.normpath(posixpath.join(folder, link[1]))}{link[2]})", text
    )
