"""The sockets that the server listens on: opened here, or left by a server before this one."""

import asyncio
import errno
import socket
from collections.abc import Callable
from contextlib import suppress

from webhook.config.settings import Address
from webhook.runtime.components import StartError
from webhook.runtime.handover import LET_GO, Kept


class Listeners:
    """Opens listening sockets, and has the keeper keep them where there is one."""

    def __init__(self, kept: Kept | None = None) -> None:
        self._kept = kept
        self.ended_by = kept.ended_by if kept else 0

    def listen(self, address: Address) -> socket.socket:
        """A listening socket; without a host on all interfaces, IPv4 and IPv6 where the machine has both.

        Raises:
            StartError: when the port cannot be had.
        """
        if self._kept is None:
            return _bind(address)
        name = f"{address.host}:{address.port}".encode()
        if name in self._kept.sockets:
            return socket.socket(fileno=self._kept.sockets[name])
        bound = _bind(address)
        socket.send_fds(self._kept.link, [name], [bound.fileno()])
        return bound

    def when_alone(self, call: Callable[[], None]) -> None:
        """Call when the keeper is gone: nobody would end this process with it."""
        if self._kept is not None:
            asyncio.get_running_loop().add_reader(self._kept.link, call)

    def let_go(self) -> None:
        """Have nothing kept any more: who comes now is to be refused, not to wait."""
        if self._kept is not None:
            with suppress(OSError):
                self._kept.link.send(LET_GO)


def _bind(address: Address) -> socket.socket:
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
            raise StartError(f"{where} is in use: stop what listens there, or choose another port") from error
        raise StartError(f"cannot listen on {where}: {error.strerror}; choose another address or port") from error
