"""The reader and the writer of YAML, held to the real kubectl. It needs no API server: `kubectl label --local`."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from azure_workload_identity.kube_yaml import reader, scalars, writer
from testbed.cluster.control_plane import Programs
from tests.azure_workload_identity.kube_yaml.scalars import REFUSED, SCALARS

HEAD = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: x}\n"
# Numbers as the API machinery has them: integers of 64 bits, or floats.
DECODER = json.JSONDecoder(parse_int=lambda text: int(text) if int(text) in scalars.INT64 else float(text))


def kubectl(programs: Programs, text: str) -> subprocess.CompletedProcess[str]:
    """Let kubectl read a manifest and write it as JSON."""
    command = [str(programs.kube_apiserver.parent / "kubectl"), "label", "--local", "-f", "-", "a=b", "-o", "json"]
    environment = {**os.environ, "KUBECONFIG": os.devnull}
    return subprocess.run(command, input=text, capture_output=True, text=True, env=environment, check=False)


def values_of_kubectl(programs: Programs, text: str) -> object:
    """Return the values that kubectl reads."""
    done = kubectl(programs, text)
    assert done.returncode == 0, done.stderr
    return DECODER.decode(done.stdout)["values"]


def test_scalars(programs: Programs) -> None:
    """Every scalar of the table, and each of them by itself, is read as kubectl reads it."""
    text = HEAD + "values:\n" + "".join(f"- value: {scalar}\n" for scalar in SCALARS)
    theirs = values_of_kubectl(programs, text)
    ours = reader.read_one(text)
    assert isinstance(ours, dict)
    assert isinstance(theirs, list)
    for scalar, own, other in zip(SCALARS, ours["values"], theirs, strict=True):
        assert (scalar, own.get("value"), type(own.get("value"))) == (
            scalar,
            other.get("value"),
            type(other.get("value")),
        )


@pytest.mark.parametrize("scalar", REFUSED)
def test_refused(programs: Programs, scalar: str) -> None:
    """What kubectl refuses is refused."""
    text = f"{HEAD}values: {scalar}\n"
    assert kubectl(programs, text).returncode == 1
    with pytest.raises(reader.YamlError, match=r"(line \d|^it is)"):
        reader.read_one(text)


def test_written(programs: Programs) -> None:
    """What is written is read as it was, by kubectl and here."""
    text = HEAD + "values:\n" + "".join(f"- value: {scalar}\n" for scalar in SCALARS)
    document = reader.read_one(text)
    texts = [text for text in SCALARS if text] + [
        "a\nb\n",
        "a\nb",
        " a",
        "a ",
        "a: b",
        "# a",
        "\u00e9",
        "\U0001f600",
        "\t",
    ]
    assert isinstance(document, dict)
    document["values"] += [{"value": text, text: None} for text in texts]
    written = writer.write(document)
    assert reader.read_one(written) == document
    assert values_of_kubectl(programs, written) == document["values"]


def test_documents(programs: Programs, tmp_path: Path) -> None:
    """JSON, a byte order mark, Windows' line ends and empty documents are read as kubectl reads them."""
    value = (
        '{"apiVersion": "v1", "kind": "A", "metadata": {"name": "a"}, "values": [1.0, "\\ud83d\\ude00", "\\/", 1e3]}'
    )
    for text in (
        value,
        f"{value}\n{value}",
        "\ufeff" + HEAD + "values: 1\n",
        (HEAD + "values: |\n  a\n").replace("\n", "\r\n"),
        "---\n# nothing\n---\n" + HEAD + "values: >\n  a\n  b",
    ):
        (tmp_path / "a.yaml").write_bytes(text.encode())
        done, position, theirs = kubectl(programs, text).stdout, 0, []
        while position < len(done):
            document, position = DECODER.raw_decode(done, position)
            theirs.append(document["values"])
            position += 1
        ours = [document.value for document in reader.read_file(tmp_path / "a.yaml")]
        assert [document["values"] for document in ours if isinstance(document, dict)] == theirs
