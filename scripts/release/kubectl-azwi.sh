#!/bin/sh
# kubectl-azwi: runs azwi from a virtual environment beside this file, which the first run creates from the locked packages.
set -eu

program=$0
while [ -L "$program" ]; do # krew puts a link on PATH
    target=$(readlink "$program")
    case $target in
    /*) program=$target ;;
    *) program=$(dirname "$program")/$target ;;
    esac
done
home=$(cd "$(dirname "$program")" && pwd)

if [ ! -e "$home/venv/complete" ]; then
    python=
    for candidate in ${AZWI_PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if "$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            python=$candidate
            break
        fi
    done
    [ -n "$python" ] || {
        echo "azwi: Python 3.11 or newer with its venv module was not found. Install it (Debian and Ubuntu: apt-get" \
            "install python3-venv), or set AZWI_PYTHON to the path of one." >&2
        exit 1
    }
    echo "azwi: installing its packages into $home/venv, once" >&2
    rm -rf "$home/venv"
    "$python" -m venv "$home/venv"
    pip() { "$home/venv/bin/python" -m pip --quiet --disable-pip-version-check "$@"; }
    pip install --require-hashes --only-binary :all: --requirement "$home/requirements.txt" &&
        pip install --no-deps --no-index "$home"/azure_workload_identity-*.whl || {
        echo "azwi: its packages could not be installed; see pip's message above. Without a network, point pip at a mirror" \
            "or a folder of wheels (PIP_INDEX_URL, PIP_FIND_LINKS)." >&2
        exit 1
    }
    touch "$home/venv/complete"
fi
exec "$home/venv/bin/kubectl-azwi" "$@"
