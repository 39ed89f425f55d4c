"""The listening sockets: opened here, or inherited from the previous server."""

import asyncio
import errno
import socket
from collections.abc import Callable
from contextlib import suppress

from webhook.config.settings import Address
from webhook.runtime.components import StartError
from webhook.runtime.handover import RELEASE, Handover


class Listeners:
    """Opens listening sockets, and registers them with the supervisor if there is one."""

    def __init__(self, handover: Handover | None = None) -> None:
        self._handover = handover
        self.killed_by = handover.killed_by if handover else 0

    def listen(self, address: Address, flag: str) -> socket.socket:
        """A listening socket; without a host, on all interfaces, for IPv4 and IPv6 if the machine has both.

        `flag` is the one that chooses the address, for the message when it cannot be used.

        Raises:
            StartError: when the address cannot be used.
        """
        if self._handover is None:
            return _bind(address, flag)
        name = f"{address.host}:{address.port}".encode()
        if name in self._handover.sockets:
            return socket.socket(fileno=self._handover.sockets[name])
        bound = _bind(address, flag)
        socket.send_fds(self._handover.link, [name], [bound.fileno()])
        return bound

    def on_supervisor_exit(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the supervisor is gone: nothing else would stop this process then."""
        if self._handover is not None:
            asyncio.get_running_loop().add_reader(self._handover.link, callback)

    def release(self) -> None:
        """Have the supervisor close its copies: new connections must be refused, not queued."""
        if self._handover is not None:
            with suppress(OSError):
                self._handover.link.send(RELEASE)


def _bind(address: Address, flag: str) -> socket.socket:
    try:
        if address.host:
            family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
            return socket.create_server((address.host, address.port), family=family)
        try:
            return socket.create_server(("", address.port), family=socket.AF_INET6, dualstack_ipv6=True)
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
                raise
            return socket.create_server(("", address.port))
    except OSError as error:
        where = f"{address.host or '*'}:{address.port}"
        if error.errno == errno.EADDRINUSE:
            raise StartError(
                f"{where} is in use: stop what listens there, or choose another port with {flag}"
            ) from error
        raise StartError(f"cannot listen on {where}: {error.strerror}; choose another with {flag}") from error
