#!/bin/sh
# Renders the chart with every values file of its ci folder and scans the objects with checkov, which runs in .venv-scan.
set -eu
cd "$(dirname "$0")/.."
chart=charts/workload-identity-webhook
helm=$CLUSTER_BIN/helm
[ -x "$helm" ] || helm=$(command -v helm) || { echo "helm is neither in $CLUSTER_BIN nor on PATH: run make cluster-tools" >&2; exit 1; }

if ! cmp -s requirements/scan.txt .venv-scan/lock.txt; then
    echo "installing requirements/scan.txt into .venv-scan (about a minute)" >&2
    rm -rf .venv-scan
    .venv/bin/python -m venv .venv-scan
    .venv-scan/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
        -r requirements/scan.txt
    cp requirements/scan.txt .venv-scan/lock.txt
fi

rendered=$(mktemp -d)
trap 'rm -rf "$rendered"' EXIT
for values in "$chart"/ci/*-values.yaml; do
    "$helm" template azwi "$chart" --namespace azwi-system --values "$values" >"$rendered/$(basename "$values")"
done
.venv-scan/bin/checkov --config-file .ci/checkov.yaml --directory "$rendered"
echo "checkov: no findings besides those skipped in .ci/checkov.yaml, in $(ls "$rendered" | wc -l) values files"
