"""Fuzzes admission: `python -m tests.fuzz_review COUNT [SEED]`.

Bodies are mutated from real reviews, in their bytes and in the decoded tree; each is decoded and admitted as the
server does it. It exits with status 1 and the body in a file at the first that raises an unexpected error, whose patch
does not apply, or that is changed by a second admission; and with status 1 if memory grows.
"""

import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import jsonpatch
import orjson

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from testbed.program import review
from webhook.admission.admit import admit
from webhook.admission.identity import Account, Defaults
from webhook.admission.policy import OptIn, Policy, ProxySettings
from webhook.admission.review import AdmissionOutcome, BrokenReviewError, Decision, Review, response
from webhook.server import decode

# Bodies after which memory is compared with its size at the end.
WARM_UP: Final = 20_000
MAX_GROWTH: Final = 16 << 20
POLICY: Final = Policy(
    Defaults("9d1b6c3e-5a7f-4c2d-8e90-1f2a3b4c5d6e"),
    "https://login.microsoftonline.com/",
    ProxySettings("proxy:1"),
    opt_in=frozenset(OptIn),
)
ACCOUNT: Final = Account(client_id="7d5b2f6e-3c1a-4b8e-9a55-0c6f1e2d3a4b")
POD: Final[JsonObject] = {
    "metadata": {
        "name": "app",
        "labels": {names.USE_LABEL: "true"},
        "annotations": {names.INJECT_PROXY: "true", names.SKIP_CONTAINERS: "b", names.TOKEN_EXPIRATION: "7200"},
    },
    "spec": {
        "serviceAccountName": "web",
        "initContainers": [{"name": "i", "restartPolicy": "Always"}],
        "containers": [
            {
                "name": "a",
                "env": [{"name": names.ENV_CLIENT_ID, "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
                "volumeMounts": [{"name": "v", "mountPath": names.DOCUMENTED_DIRECTORY, "readOnly": True}],
            },
            {"name": "b", "env": [], "volumeMounts": None},
        ],
        "volumes": [{"name": "v", "secret": {"secretName": "s"}}],
    },
}
SEEDS: Final = [orjson.dumps(review(POD)), orjson.dumps(review({"spec": {"containers": [{"name": "a"}]}}))]
ODD: Final[list[Any]] = [
    *(None, True, 0, -1, 2**63, 1.5, "", "\x00", "true", "é" * 300, [], {}, [[]], [None], {"name": None}),
    *(
        {"name": names.VOLUME},
        names.VOLUME,
        names.DOCUMENTED_DIRECTORY,
        "/",
        "/run/secrets",
        "../..",
        names.PROXY_CONTAINER,
    ),
]
KEYS: Final = [
    *("name", "env", "volumeMounts", "mountPath", "volumes", "containers", "initContainers", "spec", "metadata"),
    *(
        "annotations",
        "labels",
        "projected",
        "sources",
        "hostNetwork",
        "os",
        "nodeSelector",
        "resources",
        "volumeDevices",
    ),
    *(names.USE_LABEL, names.PROXY_MODE, names.PROXY_PORT, names.INJECT_CONTAINERS, names.PROXY_MEMORY_REQUEST),
]


def find(namespace: str, name: str) -> Account | None:  # noqa: ARG001  the interface's
    """Every account is the same, but one is missing."""
    return None if name == "missing" else ACCOUNT


def admitted(body: bytes) -> tuple[Review, AdmissionOutcome] | None:
    """Decode and admit a body as the server does; None when it is not a review."""
    try:
        parsed = Review.parse(decode.decode(body))
    except (ValueError, BrokenReviewError):
        return None
    outcome = admit(parsed, find, POLICY)
    orjson.dumps(response(parsed, outcome, None))
    return parsed, outcome


def check(body: bytes) -> str:
    """Admit a body, hold it to what must be true of it, and name the decision.

    Raises:
        AssertionError: when something is not as it must be.
    """
    decided = admitted(body)
    if decided is None:
        return "broken"
    _, outcome = decided
    if outcome.decision is not Decision.MUTATE:
        return outcome.decision
    assert all(operation["op"] in {"add", "replace"} for operation in outcome.operations)
    after = jsonpatch.apply_patch(orjson.loads(body)["request"]["object"], list(outcome.operations))
    again = admit(Review.parse(review(after)), find, POLICY)
    assert again.decision is Decision.MUTATE, again.message
    assert not again.operations, again.operations
    return outcome.decision


def mutated(chance: random.Random) -> bytes:
    """Change a seed a little, in its bytes or in its tree."""
    body = chance.choice(SEEDS)
    change: Callable[[random.Random, bytes], bytes] = chance.choice([_bytes_changed, _tree_changed, _tree_changed])
    for _ in range(chance.randint(1, 6)):
        body = change(chance, body)
    return body


def _bytes_changed(chance: random.Random, body: bytes) -> bytes:
    start = chance.randrange(len(body) + 1)
    end = min(len(body), start + chance.choice([0, 1, 1, 8]))
    return body[:start] + chance.randbytes(chance.choice([0, 1, 1, 4])) + body[end:]


def _tree_changed(chance: random.Random, body: bytes) -> bytes:
    try:
        tree = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body
    places = list(_places(tree))
    if places:
        _change(chance, *chance.choice(places))
    return orjson.dumps(tree)


def _places(node: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401  a JSON tree
    keys: list[Any] = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
    for key in keys:
        yield node, key
        yield from _places(node[key])


def _change(chance: random.Random, node: Any, key: Any) -> None:  # noqa: ANN401  a JSON tree
    kind = chance.randrange(4)
    if kind == 0:
        node[key] = chance.choice(ODD)
    elif kind == 1:
        del node[key]
    elif isinstance(node, dict):
        node[chance.choice(KEYS)] = chance.choice([*ODD, node[key]])
    else:
        node.append(chance.choice([*ODD, node[key]]))


def main(count: int, seed: int) -> int:
    """Fuzz with so many bodies; print how many got which decision."""
    chance, counts = random.Random(seed), Counter[str]()  # noqa: S311  not for secrets
    body, before = b"", 0
    try:
        for number in range(count):
            if number == min(count // 10, WARM_UP):
                before = resident()
            body = mutated(chance)
            counts[str(check(body))] += 1
    except Exception:
        path = Path("fuzz-failure.json")
        path.write_bytes(body)
        print(f"seed {seed}: this body failed, see {path}", file=sys.stderr)  # noqa: T201  a program
        raise
    grown = resident() - before
    print(f"seed {seed}: {count:,} bodies, none failed: {dict(counts)}; memory grew by {grown >> 20} MiB")  # noqa: T201  a program
    return int(grown > MAX_GROWTH)


def resident() -> int:
    """The bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    words = [*sys.argv[1:], "100000", str(random.SystemRandom().randrange(1 << 32))]
    sys.exit(main(int(words[0]), int(words[-1] if len(sys.argv) <= 2 else words[1])))
