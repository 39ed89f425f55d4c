"""What any token proxy in Python would cost: `idle` loads asyncio and TLS, `serve PORT` gives one fixed answer.

The response has a token's size, and is sent by the proxy's own HTTP server: the difference is the proxy's work.
"""

# ruff: noqa: PLC0415  the idle floor loads none of the proxy

import asyncio
import ssl
import sys
from collections.abc import Sequence

ANSWER = b"x" * 1400


async def _serve(port: int) -> None:
    from imds_proxy.messages import Request, Response
    from imds_proxy.server import Server

    def fixed(_request: Request) -> Response:
        return Response(200, ANSWER)

    await Server(fixed).listen(port)
    await asyncio.Event().wait()


async def _idle() -> None:
    assert ssl.OPENSSL_VERSION  # noqa: S101  it is loaded for the measurement
    await asyncio.Event().wait()


def main(arguments: Sequence[str]) -> None:
    """Run until killed."""
    asyncio.run(_serve(int(arguments[1])) if arguments[0] == "serve" else _idle())


if __name__ == "__main__":
    main(sys.argv[1:])
