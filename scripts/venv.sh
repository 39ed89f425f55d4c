#!/bin/sh
# venv.sh LOCK: creates .venv from a hashed lock (requirements/LOCK.txt) and installs this project into it, editable.
# Reports what is missing and how to get it.
set -eu
lock=requirements/$1.txt

fail() { printf '%s\n' "$@" >&2; exit 1; }

python=${PYTHON:-}
if [ -z "$python" ]; then
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            python=$candidate
            break
        fi
    done
fi
[ -n "$python" ] || fail "Python 3.11 or newer is required and was not found." \
    "Install it (Debian and Ubuntu: apt-get install python3 python3-venv), or name an interpreter: make PYTHON=/path/to/python3"
command -v "$python" >/dev/null || fail "$python does not exist. Name an installed Python: make PYTHON=/path/to/python3"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$python is $("$python" --version 2>&1), but 3.11 or newer is needed. Name another one: make PYTHON=/path/to/python3"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$python has no venv module." "Install it (Debian and Ubuntu: apt-get install python3-venv) and run make again."

if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "creating .venv with $("$python" --version)" >&2
    rm -rf .venv
    "$python" -m venv .venv
fi
echo "installing $lock into .venv (about half a minute the first time)" >&2
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r "$lock" ||
    fail "The packages of $lock could not be installed; see pip's message above." \
        "Without a network, point pip at a mirror or a folder of wheels (pip's own settings: PIP_INDEX_URL, PIP_FIND_LINKS)."
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index --editable .
