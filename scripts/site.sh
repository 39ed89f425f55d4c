#!/bin/sh
# site.sh DIRECTORY: builds the manual as a site, strictly, with tools from a separate environment below TOOLS (build).
set -eu
cd "$(dirname "$0")/.."
tools=${TOOLS:-build}/site-tools
if [ ! -e $tools/stamp ] || [ requirements/site.txt -nt $tools/stamp ]; then
    "${PYTHON:-.venv/bin/python}" -m venv $tools
    $tools/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
        --requirement requirements/site.txt
    touch $tools/stamp
fi
"${PYTHON:-.venv/bin/python}" -m scripts.write_site "$PWD/$tools/bin/zensical" "${1:-dist/site}"
