#!/bin/sh
# image.sh [FLAG...]: builds the image IMAGE with ENGINE; flags go to `ENGINE build`.
# BASE and BUILD_BASE, if set, become build arguments. Files get the time of the commit, so that a commit always builds
# the same image as long as BASE and its packages stay the same.
set -eu
cd "$(dirname "$0")/.."

engine=${ENGINE:-}
for candidate in docker podman buildah; do
    [ -n "$engine" ] || ! command -v "$candidate" >/dev/null || engine=$candidate
done
[ -n "$engine" ] || { echo "docker, podman or buildah is needed to build an image, but none was found." \
    "Install one, or name yours: make image ENGINE=/path/to/nerdctl" >&2; exit 1; }

version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' azure_workload_identity/__init__.py)
image=${IMAGE:-azwi:$version}
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
created=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ 2>/dev/null ||
    date -u -r "$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
case $engine in *podman* | *buildah*) set -- --timestamp "$SOURCE_DATE_EPOCH" "$@" ;; esac # docker reads the variable
[ -z "${BASE:-}" ] || set -- --build-arg "BASE=$BASE" "$@"
[ -z "${BUILD_BASE:-}" ] || set -- --build-arg "BUILD_BASE=$BUILD_BASE" "$@"

# ENGINE may contain global flags, so it is not quoted.
# shellcheck disable=SC2086
$engine build --build-arg "VERSION=$version" --build-arg "REVISION=$revision" --build-arg "CREATED=$created" \
    --tag "$image" "$@" .
echo "built $image from commit $revision"
