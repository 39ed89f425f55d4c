#!/bin/sh
# sbom.sh ARCHIVE OUTPUT: writes an image's bill of materials with tools from a separate environment.
set -eu
cd "$(dirname "$0")/.."
[ -f "${1:-}" ] || { echo "Name the file of the image: make sbom ARCHIVE=azwi.tar" \
    "(docker save --output azwi.tar IMAGE, podman save, or buildah push IMAGE docker-archive:azwi.tar)" >&2; exit 1; }
tools=build/sbom
if [ ! -e $tools/stamp ] || [ requirements/sbom.txt -nt $tools/stamp ]; then
    "${PYTHON:-.venv/bin/python}" -m venv $tools
    $tools/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
        --requirement requirements/sbom.txt
    touch $tools/stamp
fi
$tools/bin/python -m scripts.write_sbom "$1" "$2"
echo "wrote $2"
