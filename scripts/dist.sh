#!/bin/sh
# dist.sh DIRECTORY: builds the wheel and the source distribution and checks them with twine, in an environment of its own
# below TOOLS (build).
set -eu
cd "$(dirname "$0")/.."
directory=${1:-dist}
tools=${TOOLS:-build}/dist
if [ ! -e $tools/stamp ] || [ requirements/dist.txt -nt $tools/stamp ]; then
    "${PYTHON:-.venv/bin/python}" -m venv $tools
    $tools/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
        --requirement requirements/dist.txt
    touch $tools/stamp
fi
"${PYTHON:-.venv/bin/python}" -m hatchling build --directory "$directory"
$tools/bin/twine check --strict "$directory"/*.whl "$directory"/*.tar.gz
