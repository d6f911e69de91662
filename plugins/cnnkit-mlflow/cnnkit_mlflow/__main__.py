"""`python -m cnnkit_mlflow digits@latest`: log a registered version, with its model card."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence

from cnnkit import CnnkitError
from cnnkit_mlflow.version import log_version


def main(arguments: Sequence[str] | None = None) -> int:
    """Log what is named, print the id of its run, and return the exit code."""
    parser = argparse.ArgumentParser("python -m cnnkit_mlflow", description="Log a registered version to MLflow.")
    parser.add_argument("ref", help="the version, such as digits@latest")
    parser.add_argument("--registry", help="the folder of the registry; as of cnnkit if it is not given")
    parser.add_argument("--experiment", default="cnnkit", help="the experiment that the run goes to")
    given = parser.parse_args(arguments)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # MLflow prints addresses
            identity = log_version(given.ref, given.registry, given.experiment)
    except CnnkitError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stdout.write(f"{identity}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
