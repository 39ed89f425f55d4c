"""Runs in a pod: asks the proxy for tokens until it is ended, and prints every few seconds how many it got.

`python3 client.py RATE` sends so many requests a second for several resources, every eighth on a new connection.
"""

import http.client
import itertools
import json
import os
import signal
import sys
import time
from urllib.parse import urlencode, urlsplit

RESOURCES = [f"https://{name}.azure.net" for name in ("vault", "storage", "management", "database")]
PRINT_SECONDS = 5
OK = 200


def main(rate: float) -> None:
    """Ask until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    host = urlsplit(os.environ["AZURE_POD_IDENTITY_AUTHORITY_HOST"]).netloc
    counted = {"answered": 0, "failed": 0}
    begun = printed = time.monotonic()
    connection = http.client.HTTPConnection(host, timeout=60)
    for number in itertools.count():
        query = urlencode({"api-version": "2018-02-01", "resource": RESOURCES[number % len(RESOURCES)]})
        if number % 8 == 0:
            connection.close()
        try:
            connection.request("GET", f"/metadata/identity/oauth2/token?{query}", headers={"Metadata": "true"})
            answer = connection.getresponse()
            whole = answer.status == OK and "access_token" in json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError):
            connection.close()
            whole = False
        counted["answered" if whole else "failed"] += 1
        if time.monotonic() - printed > PRINT_SECONDS:
            printed = time.monotonic()
            print(json.dumps(counted), flush=True)  # noqa: T201  a program's output
        time.sleep(max(0.0, begun + (number + 1) / rate - time.monotonic()))


if __name__ == "__main__":
    main(float(sys.argv[1]))
