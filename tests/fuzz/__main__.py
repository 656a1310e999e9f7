"""``python -m tests.fuzz``: mutates the corpus of every parser until the time is over.

``FUZZ_SECONDS`` is how long (60), ``FUZZ_SEED`` the first seed, and ``FUZZ_PARSERS`` the names of
parsers, separated by commas. The seed of each round is printed. Save the bytes of a failing input
as ``tests/fuzz/corpus/<parser>/found_<what>``.
"""

from __future__ import annotations

import os
import random
import sys
import time

from .parsers import PARSERS
from .test_parsers import run

_EXAMPLES = 300


def main() -> int:
    """Return the exit code: 0 if all inputs were handled, 1 if one was not, 2 for usage."""
    names = set(filter(None, os.environ.get("FUZZ_PARSERS", "").split(",")))
    parsers = [each for each in PARSERS if not names or each.name in names]
    try:
        seconds = float(os.environ.get("FUZZ_SECONDS") or 60)
        seed = int(os.environ.get("FUZZ_SEED") or random.randrange(1 << 32))
    except ValueError:
        parsers = []
    if not parsers:
        print(__doc__, f"Parsers: {', '.join(each.name for each in PARSERS)}", file=sys.stderr)
        return 2
    begun, inputs = time.monotonic(), 0
    while not inputs or time.monotonic() - begun < seconds:
        for parser in parsers:
            print(f"FUZZ_SEED={seed} FUZZ_PARSERS={parser.name}", flush=True)
            run(parser, _EXAMPLES, seed)
            inputs += _EXAMPLES
            if time.monotonic() - begun >= seconds:
                break
        seed += 1
    print(f"{inputs} inputs in {time.monotonic() - begun:.0f} s, none of which failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
