"""Writes the chart's files/policy: `python -m scripts.write_policy [--check]`.

The folder holds what the admission policies of every installation have in common. Their settings, which come first, are
in templates/_policy_settings.tpl.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from azure_workload_identity import names
from scripts.chart_values import CHART
from webhook.admission_policy.conditions import LEFT_BY_POLICY, OWN_ACCOUNT, OWN_VALUES, WITHOUT_TOKEN
from webhook.admission_policy.limits import MAX_EXPRESSION
from webhook.admission_policy.manifests import BODIES

FOLDER: Final = CHART / "files" / "policy"
HEAD: Final = "# Made by `make docs` from webhook/admission_policy: change that.\n"


def texts() -> Mapping[Path, str]:
    """Return the content of each file: variables and rules of each policy, and the tables for its settings."""
    tables = {
        "audience": names.DEFAULT_AUDIENCE,
        "authorityHosts": names.AUTHORITY_HOSTS,
        "ownAccount": OWN_ACCOUNT,
        "ownValues": OWN_VALUES,
        "withoutToken": WITHOUT_TOKEN,
        "leftByPolicy": LEFT_BY_POLICY,
        "refused": names.REFUSED,
        "maxExpression": MAX_EXPRESSION,
    }
    return {
        FOLDER / "tables.json": json.dumps(tables, indent=1) + "\n",
        **{FOLDER / f"{kind}.yaml": f"{HEAD}variables:\n{body}" for kind, body in BODIES.items()},
    }


if __name__ == "__main__":
    for file, text in texts().items():
        if "--check" not in sys.argv:
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
        elif file.read_text() != text:
            sys.exit(f"{file} is not what webhook/admission_policy says: run make docs")
