"""The process of one contender: sets up, then runs once for each line on standard input, and reports the value.

python -m benchmarks.worker MODULE ROW CONTENDER OPTIONS

CONTENDER is `prepare`, `own`, or `peer:` and a name. Answers are lines of JSON; the last one is the peak memory.
"""

import importlib
import json
import os
import resource
import sys
from pathlib import Path

from benchmarks.row import Contender, Options, Row


def peak_mb() -> float:
    """Return the peak resident memory in MiB of this process plus that of its largest child."""
    if sys.platform != "linux":
        whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        return sum(resource.getrusage(who).ru_maxrss for who in whose) / (1 << 20)
    # On Linux ru_maxrss of a new process starts at the size of its parent; VmHWM does not.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    own_kib = int(status.partition("VmHWM:")[2].split()[0])
    return (own_kib + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024


def contender_of(row: Row, role: str) -> Contender:
    """Return the contender of a role."""
    return row.own if role == "own" else row.peers[role.removeprefix("peer:")]


def main(module: str, name: str, role: str, options_text: str) -> None:
    """Serve one contender until standard input ends."""
    # Output of the work goes to standard error: standard output is for the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    options = Options.from_json(json.loads(options_text))
    row = next(row for row in importlib.import_module(module).ROWS if row.name == name)
    if role == "prepare":
        assert row.prepare
        row.prepare(options)
    else:
        with contender_of(row, role)(options) as work:
            for _ in sys.stdin:
                print(json.dumps(work()), file=answers, flush=True)
    print(json.dumps(peak_mb()), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
