"""Runs the programs of the image in a container as Kubernetes does under Pod Security `restricted`.

By runc: root read-only, the image's user, no capability, no new privileges. The network is that of the test, unless
a fresh one is asked for.
"""

import json
import os
import subprocess
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scripts.image_archive import Image

RUN_SECONDS: Final = 60
Mounts = Mapping[Path, str]


@dataclass(frozen=True, slots=True)
class Machine:
    """An unpacked image, and where the bundles of its containers are put."""

    image: Image
    root: Path
    bundles: Path

    def command(
        self,
        *arguments: str,
        program: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
        mounts: Mounts | None = None,
        user: str | None = None,
        capabilities: Iterable[str] = (),
    ) -> list[str]:
        """Prepare a container; the command runs it in the foreground and hands it the signals that it gets."""
        name = f"azwi-{uuid.uuid4().hex[:12]}"
        bundle = self.bundles / name
        bundle.mkdir(parents=True)
        uid, gid = (user or self.image.config["User"]).split(":")
        config = _bundle(
            self.root,
            arguments=[*(program or self.image.config["Entrypoint"]), *arguments],
            environment=[*self.image.config["Env"], *(f"{key}={value}" for key, value in (environment or {}).items())],
            user={"uid": int(uid), "gid": int(gid)},
            capabilities=list(capabilities),
            mounts=mounts or {},
        )
        (bundle / "config.json").write_text(json.dumps(config))
        return [*self._runc(), "run", "--bundle", str(bundle), name]

    def run(
        self,
        *arguments: str,
        wrapper: Sequence[str] = (),
        **options: Any,  # noqa: ANN401  those of `command`
    ) -> "subprocess.CompletedProcess[str]":
        """Run a container to its end, by a wrapper such as `unshare --net`."""
        command = [*wrapper, *self.command(*arguments, **options)]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=RUN_SECONDS, stdin=subprocess.DEVNULL
        )

    def close(self) -> None:
        """End what still runs, and leave nothing of it."""
        listed = subprocess.run([*self._runc(), "list", "--quiet"], check=True, capture_output=True, text=True).stdout
        for name in listed.split():
            subprocess.run([*self._runc(), "delete", "--force", name], check=False, capture_output=True)

    def _runc(self) -> list[str]:
        return ["runc", "--root", str(self.bundles / "state")]


def _bundle(root: Path, *, user: Any, capabilities: list[str], mounts: Mounts, **process: list[str]) -> dict[str, Any]:  # noqa: ANN401  JSON
    """https://github.com/opencontainers/runtime-spec/blob/main/config.md."""
    system = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "nodev", "mode=1777"]},  # noqa: S108  the container's
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]},
    ]
    bound = [
        {"destination": inside, "type": "bind", "source": str(outside), "options": ["bind", "ro"]}
        for outside, inside in mounts.items()
    ]
    return {
        "ociVersion": "1.0.2",
        "root": {"path": str(root), "readonly": True},
        "process": {
            "user": user,
            "args": process["arguments"],
            "env": process["environment"],
            "cwd": "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
            "noNewPrivileges": True,
        },
        "mounts": [*system, *bound],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")],
            "cgroupsPath": f"/azwi-{os.getpid()}",
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/sys/firmware"],
            "readonlyPaths": ["/proc/sys", "/proc/sysrq-trigger"],
        },
    }
