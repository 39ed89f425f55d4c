"""Attacks on a server by whoever reaches its ports, and by a tenant's pods; each is bounded in number and time.

Only for servers that the caller has started, on loopback or in a network namespace of its own.
"""

import json
import multiprocessing
import resource
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from testbed.pods import pod
from testbed.program import review

CONNECTIONS: Final = 2000
BODY: Final = 8 << 20
# How long to wait for a server that does not answer, or does not read.
SOCKET_SECONDS: Final = 3.0
PAUSE_SECONDS: Final = 0.005
HEAD: Final = b"POST %s HTTP/1.1\r\nHost: webhook\r\nContent-Type: application/json\r\n" % names.MUTATE_PATH.encode()
CHUNKED: Final = HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a server listens."""

    host: str
    webhook: int
    health: int
    metrics: int


class Attacker:
    """The connections of one attack, which lasts so many seconds."""

    def __init__(self, target: Target, seconds: float) -> None:
        self.target = target
        self._deadline = time.monotonic() + seconds
        self._open: list[socket.socket] = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname, self._context.verify_mode = False, ssl.CERT_NONE  # nothing of it is a secret

    @property
    def goes_on(self) -> bool:
        """Whether its time is not over."""
        return time.monotonic() < self._deadline

    def plain(self, port: int, receive_buffer: int = 0) -> socket.socket:
        """Open a TCP connection that stays open until the end."""
        client = socket.socket()
        self._open.append(client)
        client.settimeout(SOCKET_SECONDS)
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.connect((self.target.host, port))
        return client

    def tls(self, receive_buffer: int = 0) -> ssl.SSLSocket:
        """Open a TLS connection to the webhook port that stays open until the end."""
        secure = self._context.wrap_socket(self.plain(self.target.webhook, receive_buffer))
        self._open[-1] = secure
        return secure

    def post(self, body: bytes) -> bytes:
        """Send a review over a new connection; return the first part of the response."""
        with closing(self.tls()) as client:
            client.sendall(request(body))
            received = client.recv(1000)
        self._open.pop()
        return received

    def repeat(self, step: Callable[[], object]) -> None:
        """Repeat a step until the time is over; a closed connection ends a step."""
        while self.goes_on:
            try:
                step()
            except OSError:
                time.sleep(PAUSE_SECONDS)

    def repeat_in_threads(self, steps: Sequence[Callable[[], object]]) -> None:
        """Repeat each step in a thread of its own."""
        threads = [threading.Thread(target=self.repeat, args=(step,)) for step in steps]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def open_many(self, count: int, opened: Callable[[], object]) -> None:
        """Open so many connections, and hold them until the time is over."""
        for _ in range(count):
            with suppress(OSError):
                opened()
        while self.goes_on:
            time.sleep(PAUSE_SECONDS)

    def close(self) -> None:
        """Close what is open."""
        for client in self._open:
            with suppress(OSError):
                client.close()


@dataclass(frozen=True, slots=True)
class Attack:
    """An attack; `reads_log` is False where nobody reads what the server writes to standard error."""

    text: str
    run: Callable[[Attacker], None]
    reads_log: bool = True


def request(body: bytes) -> bytes:
    """Write the request of a review."""
    return HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


def _body(manifest: object) -> bytes:
    return json.dumps(review(manifest)).encode()


def _no_pod(namespace: str) -> bytes:
    """A review of a ConfigMap; `namespace` is its JSON."""
    body: JsonObject = review({})
    body["request"] |= {"resource": {"group": "", "version": "v1", "resource": "configmaps"}, "namespace": "?"}
    return json.dumps(body).replace('"?"', namespace).encode()


def _endless_trailers(attacker: Attacker) -> None:
    fields = b"".join(b"x-%d: y\r\n" % number for number in range(8000))

    def send(opened: Callable[[], socket.socket]) -> None:
        client = opened()
        client.sendall(CHUNKED)
        while attacker.goes_on:
            client.sendall(fields)

    target = attacker.target
    ports: list[Callable[[], socket.socket]] = [attacker.tls]
    ports += [lambda: attacker.plain(target.health), lambda: attacker.plain(target.metrics)]
    attacker.repeat_in_threads([partial(send, opened) for opened in ports])


def _lists_for_labels(attacker: Attacker) -> None:
    text = _body({"metadata": {"labels": "?"}, "spec": {}})
    body = text.replace(b'"?"', b"[" + b"[]," * 2_700_000 + b"[]]")
    attacker.repeat(lambda: attacker.post(body))


def _idle_health(attacker: Attacker) -> None:
    attacker.open_many(CONNECTIONS, lambda: attacker.plain(attacker.target.health))


def _idle_tls(attacker: Attacker) -> None:
    attacker.open_many(CONNECTIONS, attacker.tls)


def _silent_tls(attacker: Attacker) -> None:
    attacker.open_many(CONNECTIONS, lambda: attacker.plain(attacker.target.webhook))


def _unfinished_bodies(attacker: Attacker) -> None:
    def step() -> None:
        clients = [attacker.tls() for _ in range(8)]
        for client in clients:
            client.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % BODY)
            with suppress(OSError):
                client.sendall(b" " * (BODY - 1))
        time.sleep(1)
        for client in clients:
            client.close()

    attacker.repeat(step)


def _unfinished_heads(attacker: Attacker) -> None:
    attacker.open_many(100, lambda: attacker.tls().sendall(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 10_000))


def _long_namespace(attacker: Attacker) -> None:
    body = _no_pod(json.dumps("n" * 8_000_000))
    attacker.repeat(lambda: attacker.post(body))


def _deep_namespace(attacker: Attacker) -> None:
    body = _no_pod("[" * 990 + "]" * 990)
    attacker.repeat(lambda: attacker.post(body))


def _broken_requests(attacker: Attacker) -> None:
    attacker.repeat(lambda: attacker.post(b"{"))


def _unread_responses(attacker: Attacker) -> None:
    containers = [{"name": f"c{number}"} for number in range(500)]
    text = request(
        json.dumps(review(pod(*containers, serviceAccountName="quickstart")), separators=(",", ":")).encode()
    )
    attacker.open_many(700, lambda: attacker.tls(receive_buffer=2048).sendall(text))


def _long_annotation(attacker: Attacker) -> None:
    listed = ";".join(f"c{number}" for number in range(400_000))
    body = _body(pod(annotations={names.INJECT_CONTAINERS: listed}, serviceAccountName="quickstart"))
    attacker.repeat(lambda: attacker.post(body))


def _many_mounts(attacker: Attacker) -> None:
    mounts = [{"name": "v", "mountPath": f"/m/{number}"} for number in range(80_000)]
    body = _body(pod({"name": "app", "volumeMounts": mounts}, serviceAccountName="quickstart"))
    attacker.repeat(lambda: attacker.post(body))


def _many_containers(attacker: Attacker) -> None:
    containers = ",".join(f'{{"name":"{number:04}"}}' for number in range(1700))
    manifest = json.dumps(review(pod(serviceAccountName="quickstart", containers="?")), separators=(",", ":"))
    text = request(manifest.replace('"?"', f"[{containers}]").encode())

    def ask_on() -> None:
        client = attacker.tls()
        while attacker.goes_on:
            client.sendall(text)
            head, _, rest = client.recv(65536).partition(b"\r\n\r\n")
            left = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0) - len(rest)
            while left > 0:
                received = client.recv(65536)
                if not received:
                    raise ConnectionError("cut")
                left -= len(received)

    attacker.repeat_in_threads([ask_on] * 32)


def _control_characters(attacker: Attacker) -> None:
    manifest = pod(serviceAccountName="quickstart")
    manifest["metadata"]["name"] = "\x9b2J\u202e\x1b[31m"
    body = json.dumps(review(manifest), ensure_ascii=False).replace("\x1b", "\\u001b").encode()
    attacker.repeat(lambda: attacker.post(body))


def _reviews(attacker: Attacker) -> None:
    text = request(_body(pod(serviceAccountName="quickstart")))
    client = attacker.tls()

    def step() -> None:
        client.sendall(text)
        client.recv(65536)

    attacker.repeat(step)


ATTACKS: Final[Mapping[str, Attack]] = {
    "trailers": Attack("endless trailers of a chunked request, on each port", _endless_trailers),
    "labels": Attack("8 MiB of `[],` where labels belong", _lists_for_labels),
    "idle-health": Attack("2,000 idle connections to the health port", _idle_health),
    "idle-tls": Attack("2,000 idle TLS connections", _idle_tls),
    "silent-tls": Attack("2,000 connections without a ClientHello", _silent_tls),
    "bodies": Attack("eight unfinished bodies of 8 MiB, again and again", _unfinished_bodies),
    "heads": Attack("100 unfinished heads of 60 KiB", _unfinished_heads),
    "unread": Attack("700 large responses that nobody reads", _unread_responses),
    "namespace": Attack("a namespace of 8 MB in a review of no pod", _long_namespace),
    "nested": Attack("a namespace nested 990 deep", _deep_namespace),
    "broken": Attack("broken requests, each over a new connection", _broken_requests),
    "stderr": Attack("standard error that nobody reads, during reviews", _reviews, reads_log=False),
    "annotation": Attack("pods with an annotation of 3 MiB that lists containers", _long_annotation),
    "mounts": Attack("pods with 80,000 mounts", _many_mounts),
    "containers": Attack("pods of 1,700 containers, 32 at a time", _many_containers),
    "controls": Attack("pod names with control characters and bidirectional marks", _control_characters),
}


def run(name: str, target: Target, seconds: float) -> None:
    """Attack for so many seconds from this process."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    attacker = Attacker(target, seconds)
    try:
        ATTACKS[name].run(attacker)
    finally:
        attacker.close()


@contextmanager
def under_attack(name: str, *targets: Target, seconds: float) -> Iterator[Callable[[], bool]]:
    """Attack targets at the same time, each from a process of its own; yield whether an attack goes on.

    Raises:
        RuntimeError: An attacker failed.
    """
    processes = [
        multiprocessing.get_context("spawn").Process(target=run, args=(name, target, seconds), daemon=True)
        for target in targets
    ]
    for process in processes:
        process.start()
    try:
        yield lambda: any(process.is_alive() for process in processes)
    except BaseException:
        for process in processes:
            process.kill()
        raise
    for process in processes:
        process.join()
    if failed := [process.exitcode for process in processes if process.exitcode]:
        raise RuntimeError(f"an attacker of {name} ended with {failed[0]}")
