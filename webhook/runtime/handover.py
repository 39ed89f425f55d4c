"""What the process that keeps the listening sockets hands to the server."""

import socket
from typing import Final, NamedTuple

LET_GO: Final = b"-"


class Kept(NamedTuple):
    """What a server is given: the way to its keeper, and what a server before it has left.

    `sockets` are file descriptors of listening sockets by address. `ended_by` is the number of the signal that
    ended it, 0 where there was no server before.
    """

    link: socket.socket
    sockets: dict[bytes, int]
    ended_by: int = 0
