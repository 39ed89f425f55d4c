"""An HTTP proxy for CONNECT: it connects to the requested port of its own host, and prints the requested target."""

import asyncio
import sys

READY = "listens"


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    method, target, *_ = (await reader.readuntil(b"\r\n\r\n")).decode().split()
    print(method, target, flush=True)  # noqa: T201  what a test reads
    far_reader, far_writer = await asyncio.open_connection("127.0.0.1", int(target.rpartition(":")[2]))
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    await asyncio.gather(_relay(reader, far_writer), _relay(far_reader, writer), return_exceptions=True)


async def main(host: str, port: int) -> None:
    """Serve until the process ends."""
    server = await asyncio.start_server(_serve, host, port)
    print(READY, flush=True)  # noqa: T201  what a test reads
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
