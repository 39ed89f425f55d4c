"""Archives that are the same bytes whenever and wherever they are written from the same files."""

import gzip
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

EXECUTABLE: Final = 0o755
PLAIN: Final = 0o644


def write(archive: Path, files: Mapping[str, bytes], epoch: int, *, executable: frozenset[str] = frozenset()) -> None:
    """Write a .tar.gz of regular files in the order of their names.

    Args:
        archive: The file to write.
        files: Path inside the archive to content.
        epoch: Modification time of every member, in seconds since 1970.
        executable: The paths of programs.
    """
    members = []
    for name, content in sorted(files.items()):
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(content), EXECUTABLE if name in executable else PLAIN
        members.append((member, content))
    archive.write_bytes(_packed(members, epoch))


def normalize(archive: Path, epoch: int) -> None:
    """Rewrite a .tar.gz in place with one time, owner and mode; names, order and contents stay.

    Helm gives the members of a chart the time of day.
    """
    with tarfile.open(archive) as tar:
        members = [(member, stream.read()) for member in tar if (stream := tar.extractfile(member))]
    archive.write_bytes(_packed([(member, content) for member, content in members], epoch))


def _packed(members: list[tuple[tarfile.TarInfo, bytes]], epoch: int) -> bytes:
    packed = io.BytesIO()
    with (
        gzip.GzipFile(filename="", fileobj=packed, mode="wb", mtime=epoch) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for member, content in members:
            member.mtime, member.uid, member.gid, member.uname, member.gname = epoch, 0, 0, "", ""
            member.pax_headers = {}
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()
