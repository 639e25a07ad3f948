"""Padded lengths for clips: few, since each is compiled once, and near to what the clips need.

Solvers compile once per length. Padding every clip to one length wastes work, a length for each
clip wastes compilation; what costs least is an integer program (facility location on a line).
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from .contracts import atomic_write
from .errors import PantographError

CANDIDATES = 64
"""Most lengths that a plan chooses from; the step grows until there are no more."""


@dataclass(frozen=True)
class Costs:
    """What padding and compilation cost: seconds per padded frame, seconds per new length.

    The defaults are what body fit, alignment and retargeting take together on one core, as
    `benchmarks/solvers.py` measures it.
    """

    frame_s: float = 0.010
    compile_s: float = 25.0


def round_up(count, step):
    """The least multiple of `step` that holds `count` frames."""
    return step * math.ceil(max(count, 1) / step)


def plan(counts, old=(), step=16, most=12, costs=Costs()):  # noqa: B008  (frozen)
    """The lengths, sorted, to which clips of `counts` frames are padded at the least cost.

    old: lengths that were planned before; they stay and cost no compilation, so that adding
    clips changes nothing for those that are done. most: how many new ones there may be.
    """
    import pulp

    counts = [count for count in counts if count > 0]
    old = tuple(sorted(set(old)))
    if not counts:
        return old
    while len({round_up(count, step) for count in counts}) > CANDIDATES:
        step *= 2
    demand = Counter(round_up(count, step) for count in counts)
    # a clip may fit an old length that is no multiple of this step
    fits = {size: max(c for c in counts if round_up(c, step) == size) for size in demand}
    lengths = sorted({*demand, *old})

    problem = pulp.LpProblem("lengths", pulp.LpMinimize)
    used = {j: problem.add_variable(f"use_{j}", cat="Binary") for j in lengths}
    padded = {
        (size, j): problem.add_variable(f"pad_{size}_to_{j}", 0, 1)
        for size in demand
        for j in lengths
        if j >= fits[size]
    }
    new = [j for j in lengths if j not in old]
    problem += pulp.lpSum(
        costs.frame_s * j * demand[size] * variable for (size, j), variable in padded.items()
    ) + pulp.lpSum(costs.compile_s * used[j] for j in new)
    for size in demand:
        problem += pulp.lpSum(v for (s, _), v in padded.items() if s == size) == 1
    for (_, j), variable in padded.items():
        problem += variable <= used[j]
    # clips longer than every old length must fit into something
    problem += pulp.lpSum(used[j] for j in new) <= max(most, 1)
    problem.solve(pulp.PULP_CBC_CMD(msg=False))
    if pulp.LpStatus[problem.status] != "Optimal":
        raise PantographError(f"no plan of lengths: {pulp.LpStatus[problem.status]}")
    return tuple(sorted({*old, *(j for j in new if used[j].value() > 0.5)}))


def total(counts, lengths, costs=Costs(), old=()):  # noqa: B008  (frozen)
    """Seconds that clips of `counts` frames take when padded to `lengths`, compilation included.

    Only lengths that some clip needs are compiled, and those in `old` are already.
    """
    chosen = [choose(count, lengths) for count in counts]
    return costs.frame_s * sum(chosen) + costs.compile_s * len(set(chosen) - set(old))


def choose(count, lengths):
    """The least of `lengths` that holds `count` frames, or None."""
    return min((length for length in lengths if length >= count), default=None)


def read(path):
    """The lengths in a file that `write` made.

    Raises PantographError where the file does not hold a list of positive whole numbers.
    """
    try:
        lengths = json.loads(Path(path).read_text(encoding="utf-8"))["lengths"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PantographError(
            f"{path}: expected lengths as plan_lengths.py writes them, found none ({error})"
        ) from error
    if not all(isinstance(length, int) and length > 0 for length in lengths):
        raise PantographError(f"{path}: expected positive whole numbers, found {lengths}")
    return tuple(sorted(lengths))


def planned(path=""):
    """The lengths in a file, by default the one that $PANTOGRAPH_LENGTHS names; () without any."""
    path = path or os.environ.get("PANTOGRAPH_LENGTHS")
    return read(path) if path else ()


def add(path, counts, step=16, most=12, costs=Costs()):  # noqa: B008  (frozen)
    """`plan` for clips of `counts` frames, with the old lengths of the file `path`, into it.

    Returns the lengths. A file that needs no other length is left as it is.
    """
    old = read(path) if Path(path).is_file() else None
    planned = plan(counts, old or (), step, most, costs)
    if planned != old:
        write(path, planned)
    return planned


def write(path, lengths):
    """Write lengths as JSON."""
    text = json.dumps({"lengths": list(lengths)}) + "\n"
    atomic_write(path, lambda temporary: Path(temporary).write_text(text, encoding="utf-8"))
