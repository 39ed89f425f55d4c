#!/bin/sh
# sbom.sh ARCHIVE OUTPUT: writes the bill of materials of an image, or of this project with the packages of a lock, with tools
# from a separate environment below TOOLS (build).
set -eu
cd "$(dirname "$0")/.."
[ -f "${1:-}" ] || { echo "Name the file of the image: make sbom ARCHIVE=azwi.tar" \
    "(docker save --output azwi.tar IMAGE, podman save, or buildah push IMAGE docker-archive:azwi.tar)" >&2; exit 1; }
tools=${TOOLS:-build}/sbom
if [ ! -e $tools/stamp ] || [ requirements/sbom.txt -nt $tools/stamp ]; then
    "${PYTHON:-.venv/bin/python}" -m venv $tools
    $tools/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
        --requirement requirements/sbom.txt
    touch $tools/stamp
fi
case $1 in
*.txt) $tools/bin/python -m cyclonedx_py requirements --pyproject pyproject.toml --output-reproducible \
    --spec-version 1.6 --output-file "$2" "$1" ;;
*) $tools/bin/python -m scripts.write_sbom "$1" "$2" ;;
esac
echo "wrote $2"
