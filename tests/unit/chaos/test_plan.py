"""Rounds of random faults follow from their seeds, and shrink to what makes them fail."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ...chaos.faults import Faults
from ...chaos.plan import LANES, Fault, Plan, plan, shrink
from ...chaos.planted import BUGS, PACKAGES, Bug
from ...chaos.processes import ROOT
from ...chaos.scenarios import SCENARIOS

NAMES = tuple(SCENARIOS)


@given(st.integers(0, 1 << 32), st.floats(0, 120))
def test_a_round_follows_from_its_seed(seed: int, seconds: float) -> None:
    made = plan(seed, NAMES, seconds)
    assert made == plan(seed, NAMES, seconds)
    assert set(made.scenarios) <= set(NAMES)
    for lane, kinds in LANES.items():
        faults = list(made.lane(lane))
        assert {each.kind for each in faults} <= set(kinds)
        assert sum(each.after + each.lasts for each in faults) <= seconds


def test_all_kinds_of_faults_and_all_scenarios_happen() -> None:
    made = [plan(seed, NAMES, 40.0) for seed in range(100)]
    assert {each for one in made for each in one.scenarios} == set(NAMES)
    found = {fault.kind for one in made for fault in one.faults}
    assert found == {kind for kinds in LANES.values() for kind in kinds}


@pytest.mark.parametrize("kind", [kind for kinds in LANES.values() for kind in kinds])
def test_each_kind_of_fault_is_done_somehow(kind: str) -> None:
    assert callable(getattr(Faults, "_" + kind.replace("-", "_")))


@given(st.integers(1, 30), st.data())
def test_a_failing_round_shrinks_to_the_faults_it_takes(count: int, data: st.DataObject) -> None:
    faults = tuple(Fault("network", "cut-links", 1.0, 0.1, i) for i in range(count))
    needed = data.draw(st.sets(st.sampled_from(faults), max_size=3))

    def fails(smaller: Plan) -> bool:
        return needed <= set(smaller.faults)

    found = shrink(Plan(1, NAMES, faults), fails, attempts=1_000)
    assert set(found.faults) == needed


def test_shrinking_ends_after_its_attempts() -> None:
    tried = []

    def fails(smaller: Plan) -> bool:
        tried.append(smaller)
        return False

    made = plan(3, NAMES, 60.0)
    assert shrink(made, fails, attempts=4) == made
    assert len(tried) == 4


@pytest.mark.parametrize("bug", BUGS, ids=[each.name for each in BUGS])
def test_each_planted_bug_changes_one_line(bug: Bug) -> None:
    (file,) = [path for each in PACKAGES if (path := ROOT / each / bug.file).exists()]
    lines = [line.strip() for line in file.read_text().splitlines()]
    assert lines.count(bug.line) == 1
    assert set(bug.plan.scenarios) <= set(SCENARIOS)
