"""Create the product on standard input, within limits of memory and time, and report on standard output."""

import json
import os
import pickle
import resource
import sys
from pathlib import Path

from earthsignature_assets.errors import (
    AlreadyExistsError,
    EarthSignatureError,
    QueryError,
    StoreUnavailableError,
)
from earthsignature_grpc.creation.publication import CREATIONS

MEMORY_BYTES = 12 << 30
CPU_S = 600


def main() -> None:
    """Create the product of the request on standard input and write the outcome to standard output as JSON."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # prints of libraries must not mix with the answer
    version, store, request, folder = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the server that started this process
    outcome: dict[str, str]
    try:
        outcome = {"product_id": CREATIONS[version](store, request, Path(folder))}
    except QueryError as error:
        outcome = {"error": "QueryError", "field": error.field, "message": error.remedy}
    except (AlreadyExistsError, StoreUnavailableError) as error:
        outcome = {"error": type(error).__name__, "message": str(error)}
    except EarthSignatureError as error:
        outcome = {"error": "QueryError", "field": "product", "message": str(error)}
    except MemoryError:
        outcome = {"error": "QueryError", "field": "product", "message": "needs too much memory; send a smaller part"}
    json.dump(outcome, answers)
    answers.flush()


if __name__ == "__main__":
    main()
