#!/bin/sh
# check.sh SITE [SCREENSHOTS]: looks at every page of a built site (check.js). CHROMIUM names the browser.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
tools=${TOOLS:-build}/site-check
chromium=${CHROMIUM:-$(command -v chromium || command -v google-chrome || true)}
[ -n "$chromium" ] || { echo "site-check needs Chromium: apt-get install chromium, or set CHROMIUM" >&2; exit 1; }
command -v npm >/dev/null || { echo "site-check needs npm: apt-get install npm" >&2; exit 1; }
mkdir -p "$tools" ${2:+"$2"}
cp "$here"/package.json "$here"/package-lock.json "$here"/check.js "$tools"
(cd "$tools" && npm ci --silent --ignore-scripts --no-audit --no-fund)
CHROMIUM=$chromium node "$tools/check.js" "$1" ${2:+"$2"}
