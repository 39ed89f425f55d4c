"""What the supervisor hands to the server's process."""

import socket

# The server's message that the listening sockets are to be closed.
RELEASE = b"-"


class Handover:
    """The link to the supervisor, and what the previous server left.

    `sockets` are the file descriptors of listening sockets by address. `killed_by` is the number of the signal that
    killed the previous server, 0 if this is the first.
    """

    def __init__(self, link: socket.socket, sockets: dict[bytes, int], killed_by: int = 0) -> None:
        self.link = link
        self.sockets = sockets
        self.killed_by = killed_by
