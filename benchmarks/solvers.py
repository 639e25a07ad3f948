"""Measure what the solvers cost: compilation, start-up, time per frame and memory.

Every row is measured in processes of its own, one after another: one with an empty compilation
cache, one with the cache that it left. Times depend on the machine and on what else runs on it;
compare rows of one run only. The input is the truth of a demo clip, played back and forth.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STARTED = time.time()
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from pantograph import cli, contracts, errors  # noqa: E402

CLIP = ROOT / "resources" / "demo" / "walk_turn.truth"
SOLVERS = ("retarget", "retarget_free", "megahunter", "body_fit")
"""`retarget_free` is retargeting without collision terms."""


def main(argv=None):
    parser = cli.parser(__doc__)
    parser.add_argument("solvers", nargs="*", metavar="SOLVER", help=f"of {', '.join(SOLVERS)}")
    parser.add_argument("--frames", type=int, nargs="+", default=[100, 300, 600, 1200])
    parser.add_argument("--people", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--repeats", type=int, default=5, help="calls that count, after the first")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures, too")
    parser.add_argument(
        "--clips", type=int, metavar="N", help="instead: N clips of 100 frames in one retargeting"
    )
    parser.add_argument("--cache", help=cli.argparse.SUPPRESS)
    args = parser.parse_args(argv)
    for name in args.solvers:
        if name not in SOLVERS:
            raise errors.PantographError(f"no solver {name!r}; expected {', '.join(SOLVERS)}")
    if args.cache is not None:
        (name,), (frames,), (people,) = args.solvers, args.frames, args.people
        print(json.dumps(measure(name, frames, people, args.repeats, args.cache)))
        return

    if args.clips:
        with tempfile.TemporaryDirectory() as cache:
            os.environ["PANTOGRAPH_JAX_CACHE"] = cache
            print(batch(args.clips, args.repeats))
        return

    rows = []
    print(HEADER)
    for name in args.solvers or SOLVERS:
        for people in args.people:
            for frames in args.frames:
                rows.append(row(name, frames, people, args.repeats))
                print(line(rows[-1]), flush=True)
    if args.json:
        content = json.dumps(rows, indent=1) + "\n"
        contracts.atomic_write(args.json, lambda path: Path(path).write_text(content))


HEADER = (
    f"{'solver':14} {'frames':>6} {'people':>6} {'cold compile s':>14} {'warm compile s':>14} "
    f"{'start to result s':>17} {'ms/frame':>9} {'CPU ms/frame':>12} {'iterations':>10} "
    f"{'peak MB':>8}"
)


def line(row):
    """One row of the table; ms per frame and person."""
    return (
        f"{row['solver']:14} {row['frames']:6} {row['people']:6} {row['cold_compile_s']:14.1f} "
        f"{row['warm_compile_s']:14.1f} {row['warm_start_to_result_s']:17.1f} "
        f"{row['ms_per_frame']:9.2f} {row['cpu_ms_per_frame']:12.2f} {row['iterations']:10} "
        f"{row['peak_mb']:8.0f}"
    )


def row(name, frames, people, repeats):
    """The figures of one solver at one size, from a cold and a warm process."""
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, __file__, name, f"--frames={frames}", f"--people={people}"]
        command += [f"--repeats={repeats}", f"--cache={cache}"]
        found = []
        for _ in range(2):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise errors.PantographError(f"{' '.join(command)} failed:\n{done.stderr}")
            found.append(json.loads(done.stdout.splitlines()[-1]))
    cold, warm = found
    return {
        "solver": name,
        "frames": frames,
        "people": people,
        "cold_compile_s": cold["compile_s"],
        "warm_compile_s": warm["compile_s"],
        "cold_start_to_result_s": cold["start_to_result_s"],
        "warm_start_to_result_s": warm["start_to_result_s"],
        "ms_per_frame": min(cold["ms_per_frame"], warm["ms_per_frame"]),
        "cpu_ms_per_frame": min(cold["cpu_ms_per_frame"], warm["cpu_ms_per_frame"]),
        "iterations": warm["iterations"],
        "peak_mb": cold["peak_mb"],
    }


# ---------------------------------------------------------------------------------------------
# one process


def measure(name, frames, people, repeats, cache):
    """The figures of one solver in this process; `start_to_result_s` counts from its start."""
    os.environ["PANTOGRAPH_JAX_CACHE"] = cache
    import jax

    spent = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **_: spent.append((event, seconds))
    )
    call = CALLS[name](*inputs(frames, people))
    iterations = call()
    first = time.time() - STARTED
    wall, cpu = [], []
    for _ in range(repeats):
        began, used = time.perf_counter(), time.process_time()
        call()
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
    compiled = ("trace_duration", "mlir_module_duration", "backend_compile_duration")
    each = 1e3 / (frames * people)
    return {
        "compile_s": sum(s for event, s in spent if event.endswith(compiled)),
        "start_to_result_s": first,
        "ms_per_frame": statistics.median(wall) * each,
        "cpu_ms_per_frame": statistics.median(cpu) * each,
        "iterations": iterations,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def inputs(frames, people):
    """`Video` and what its stages read without error, for `frames` frames of a demo clip.

    The clip's person is there `people` times.
    """
    import numpy as np

    from pantograph import truth

    scene = contracts.Scene.read(CLIP / "scene.h5")
    count, centre = len(scene.cam2world), scene.intrinsics[0, :2, 2]
    order = np.arange(frames) % (2 * count - 2)
    order = np.where(order < count, order, 2 * count - 2 - order)
    fps = 30.0
    video = contracts.Video(
        name=CLIP.stem,
        path=str(CLIP.with_suffix(".mp4")),
        fps=fps,
        width=round(2 * float(centre[0])),
        height=round(2 * float(centre[1])),
        source_frames=[int(k) for k in order],
        source_times=[k / fps for k in range(frames)],
    )
    products = truth.inputs(truth.read(CLIP, video), video)
    for product in products.values():
        crowd = getattr(product, "people", None)
        if crowd:
            product.people = {k: next(iter(crowd.values())) for k in range(1, people + 1)}
    return video, products


def batch(clips, repeats, frames=100):
    """What a clip costs alone, and as one of several on the solver's frame axis."""
    import jax
    import numpy as np

    from pantograph import retarget, solver, target
    from pantograph.robot import load_robot
    from pantograph.robotcosts import Weights, make_problem

    video, products = inputs(frames, 1)
    robot = load_robot("g1")
    stretch, _ = target.find_stretch(
        products["gravity"].people[1], products["contacts"].people[1], video.fps
    )
    scale = target.world_scale(robot, [stretch])
    boxes = products["mesh"].boxes
    wanted = target.make_target(robot, stretch, [0, 1], boxes, scale, video.fps)
    parts = retarget.arrange(
        robot, wanted, retarget.obstacles(products["mesh"], scale), video.fps, Weights()
    )
    problem = make_problem(robot, True, True)
    lines = []
    for count in (1, clips):
        valid = solver.join([np.ones(frames, bool)] * count, fill=False)
        start, data = jax.tree.map(
            lambda leaf, count=count: np.asarray(solver.join([leaf] * count), np.float32), parts
        )

        def call(start=start, data=data, valid=valid):
            options = solver.Options(iterations=40, tolerance=1e-4)
            none = np.zeros(0, np.float32)
            result = solver.solve(problem, start, none, data, valid, options=options)
            return int(result.iterations)

        call()
        wall, cpu = [], []
        for _ in range(repeats):
            began, used = time.perf_counter(), time.process_time()
            iterations = call()
            wall.append(time.perf_counter() - began)
            cpu.append(time.process_time() - used)
        each = 1e3 / count
        lines.append(
            f"{count:3} clips of {frames} frames: {min(wall) * each:6.1f} ms, "
            f"{min(cpu) * each:6.1f} CPU ms a clip, {iterations} iterations"
        )
    return "\n".join(lines)


def _retarget(video, products, collision=True):
    from pantograph.retarget import retarget
    from pantograph.robot import load_robot

    robot = load_robot("g1")
    given = (robot, products["gravity"], products["contacts"], products["mesh"], video.fps)
    terms = {"self_collision": collision, "scene_collision": collision}
    return lambda: retarget(*given, **terms).stats["person_1"]["iterations"]


def _retarget_free(video, products):
    return _retarget(video, products, collision=False)


def _megahunter(video, products):
    from pantograph import body, megahunter

    model = body.load_body_of(products["body"])
    given = [products[name] for name in ("keypoints", "body", "contacts", "scene")]
    return lambda: megahunter.align(model, video, *given).stats["iterations"]


def _body_fit(video, products):
    from pantograph import body, bodyfit

    model = body.load_body_of(products["body"])
    given = (model, video, products["keypoints"], products["scene"])
    return lambda: bodyfit.fit_people(*given).stats["person1"]["iterations"]


CALLS = {
    "retarget": _retarget,
    "retarget_free": _retarget_free,
    "megahunter": _megahunter,
    "body_fit": _body_fit,
}

if __name__ == "__main__":
    cli.run(main)
