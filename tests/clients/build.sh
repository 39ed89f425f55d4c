#!/usr/bin/env bash
# Builds the clients of tests/clients once into the user's cache, with the package managers of their languages: apps that
# get a token with the Azure SDKs for Go, JavaScript and Java, the manual's programs that read a secret, `az`, and
# HashiCorp's parser of Terraform's language. Where a toolchain is missing its client is left out, and the reason is
# printed; the tests then skip it with that reason.
# PYTHON names the interpreter of az's environment (default: python3).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
lock=$root/requirements/az.txt
cache=${XDG_CACHE_HOME:-$HOME/.cache}/azwi/clients
python=${PYTHON:-python3}
mkdir -p "$cache"

# A stamp is the checksum of what a client is made from; it is written last, so a broken run is repeated.
client() { # client NAME PROGRAM SOURCES...: whether it has to be built
  name=$1 program=$2
  shift 2
  sum=$(cat "$@" "$here/build.sh" | sha256sum | cut -c1-64)
  if [ "$(cat "$cache/$name/stamp" 2>/dev/null)" = "$sum" ]; then
    echo "$name: kept"
    return 1
  fi
  if ! command -v "$program" >/dev/null; then
    echo "$name: left out, because there is no $program on PATH"
    return 1
  fi
  rm -rf "${cache:?}/$name"
  mkdir -p "$cache/$name"
  SECONDS=0
}
built() {
  echo "$sum" >"$cache/$name/stamp"
  echo "$name: built in ${SECONDS}s"
}

# The programs that the manual shows, as they stand there.
shown=$(mktemp -d)
trap 'rm -rf "$shown"' EXIT
snippet() { awk -v fence="\`\`\`$1" '$0 == fence {on = 1; next} $0 == "```" {on = 0} on' "$root/docs/install/first-pod.md"; }
snippet go >"$shown/main.go"
snippet java >"$shown/Greeting.java"

if client go go "$here"/go/*; then
  CGO_ENABLED=0 go build -C "$here/go" -mod=readonly -buildvcs=false -trimpath -ldflags=-s -o "$cache/go/token" .
  built
fi
if client hcl go "$here"/hcl/*; then
  CGO_ENABLED=0 go build -C "$here/hcl" -mod=readonly -buildvcs=false -trimpath -ldflags=-s -o "$cache/hcl/hcl" .
  built
fi
if client go-greeting go "$here"/go/go.* "$shown/main.go"; then
  cp "$here"/go/go.* "$shown"
  CGO_ENABLED=0 go build -C "$shown" -mod=readonly -buildvcs=false -trimpath -ldflags=-s -o "$cache/go-greeting/greeting" main.go
  built
fi
if client javascript npm "$here"/javascript/*; then
  cp "$here"/javascript/* "$cache/javascript"
  (cd "$cache/javascript" && npm ci --silent --ignore-scripts --no-audit --no-fund)
  built
fi
if client java mvn "$here"/java/*; then
  mvn --quiet --batch-mode --file "$here/java/pom.xml" dependency:copy-dependencies \
    -DoutputDirectory="$cache/java/lib" -Dmdep.prependGroupId=true
  javac -cp "$cache/java/lib/*" -d "$cache/java" "$here/java/Token.java"
  built
fi
if [ -d "$cache/java/lib" ] && client java-greeting javac "$here/java/pom.xml" "$shown/Greeting.java"; then
  javac -cp "$cache/java/lib/*" -d "$cache/java-greeting" "$shown/Greeting.java"
  built
fi
if client az "$python" "$lock"; then
  "$python" -m venv "$cache/az"
  "$cache/az/bin/python" -m pip install --quiet --no-deps --require-hashes --requirement "$lock"
  built
fi
