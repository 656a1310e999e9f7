"""The last result of the rounds, in RELIABILITY.md."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from .plan import Plan
from .processes import ROOT
from .rounds import Result

_FILE = ROOT / "RELIABILITY.md"
_BEGIN, _END = "<!-- chaos -->", "<!-- end of chaos -->"


def table(seed: int, rounds: Sequence[tuple[Plan, Result]]) -> str:
    """Return the rounds as a Markdown table of scenarios, and a sentence about all of them."""
    done: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    faults = 0
    for plan, result in rounds:
        faults += len(plan.faults)
        done.update(plan.scenarios)
        failed.update(name for name in plan.scenarios if any(name in p for p in result.problems))
    messages = sum(result.messages for _, result in rounds)
    outages = sum(result.outages for _, result in rounds)
    bad = sum(1 for _, result in rounds if result.problems)
    many = f"{len(rounds)} rounds" if len(rounds) > 1 else "1 round"
    lines = [
        f"Last run: {time.strftime('%Y-%m-%d')}, `CHAOS_SEED={seed}`: {many}, {faults} faults, "
        f"{messages:,} messages, {outages} queries started again after an outage; "
        f"{f'{bad} not as promised' if bad else 'each as promised'}.",
        "",
        "| scenario | rounds | not as promised |",
        "|---|---|---|",
    ]
    lines += [f"| {name} | {done[name]} | {failed[name]} |" for name in sorted(done)]
    return "\n".join(lines)


def write(text: str) -> None:
    """Put the table in its place."""
    head, _, rest = _FILE.read_text().partition(_BEGIN)
    _, _, tail = rest.partition(_END)
    _FILE.write_text(f"{head}{_BEGIN}\n{text}\n{_END}{tail}")
