"""What the supervisor hands to the server's process."""

import socket
from typing import Final, NamedTuple

# The server's message that the listening sockets are to be closed.
RELEASE: Final = b"-"


class Handover(NamedTuple):
    """The link to the supervisor, and what the previous server left.

    `sockets` are the file descriptors of listening sockets by address. `killed_by` is the number of the signal that
    killed the previous server, 0 if this is the first.
    """

    link: socket.socket
    sockets: dict[bytes, int]
    killed_by: int = 0
