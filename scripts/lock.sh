#!/bin/sh
# Regenerates requirements/*.txt: every version with its hashes, for all platforms and Python 3.11 and newer, without URLs.
# Takes the newest versions, or with UPGRADE= (empty) keeps those that are locked.
set -eu
cd "$(dirname "$0")/.."
command -v uv >/dev/null || { echo "uv is needed to resolve the locks: pip install uv" >&2; exit 1; }
compile() {
    out=$1; shift
    # shellcheck disable=SC2086  one flag or none
    uv pip compile --quiet ${UPGRADE---upgrade} --universal --python-version 3.11 --generate-hashes --no-header \
        --no-emit-index-url --no-emit-find-links "$@" --output-file "requirements/$out.txt"
}
compile run pyproject.toml --extra image --group build
compile test pyproject.toml --extra image --group build --group test --constraint requirements/run.txt
compile dev pyproject.toml --extra image --group build --group test --group lint --constraint requirements/test.txt
compile image pyproject.toml --extra image --constraint requirements/run.txt
compile cli pyproject.toml --constraint requirements/run.txt
compile build --group build --constraint requirements/run.txt
compile sbom --group sbom
compile dist --group dist
compile site --group site
compile scan --group scan

# `az` for tests/clients: its command modules, and of their libraries only those that `az login` and `az account` import. All
# of them would be a gigabyte.
uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
    --no-emit-find-links --no-annotate --no-deps --output-file requirements/az.txt - <<END
azure-cli
END
az=$(sed -n 's/^azure-cli==\([0-9.]*\).*/\1/p' requirements/az.txt)
uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
    --no-emit-find-links - >>requirements/az.txt <<END
azure-cli-core==$az
azure-cli-telemetry
azure-mgmt-resource<25
msrest
END
