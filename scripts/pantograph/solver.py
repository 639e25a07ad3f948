"""Structured Levenberg-Marquardt for trajectories.

A problem has one state per frame (any pytree with its own retraction) and, optionally, a few
variables shared by all frames (scale, shape, plane). Costs see windows of one to three
consecutive frames, so the normal equations are block-banded with an arrowhead border:

    [ H  E ] [dx]     [g]       H  block-banded, T x T blocks of size dim
    [ E' C ] [ds] = - [h]       E  border, C  shared block

H is factored by block Cholesky under `lax.scan` (linear in T), the border by its Schur
complement. Everything is masked: a window acts only where all its frames are valid, so padding
changes nothing, and several people can follow one another on the frame axis with invalid frames
between them while they share the border's variables. `solve` can be wrapped in `vmap`.

Sources: Levenberg-Marquardt after Nocedal and Wright, Numerical Optimization, 2nd ed., ch. 10,
with the damping of Nielsen, Damping parameter in Marquardt's method, IMM-REP-1999-05; robust
costs as iteratively reweighted least squares, Barron 2019, eq. 4 (Geman-McClure, there
alpha = -2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


@dataclass(frozen=True)
class Cost:
    """A named term, 1/2 sum |r|^2 over all active windows.

    residual(frames, shared, data) -> (R,), or (n, k) with `robust`: n blocks of k values.
        frames: tuple of what the problem's `features` gives for `span` consecutive frames (the
        states themselves by default); shared: the shared variables (S,); data: the slice of
        data[name] at the window's first frame. Weights belong into data; weight 0 switches a
        value off.
    robust: Geman-McClure scale in units of the residual: a block of norm e costs
        e^2 / (1 + e^2 / robust^2) instead of e^2.
    """

    name: str
    residual: Callable
    span: int = 1
    robust: float | None = None


@dataclass(frozen=True)
class Smoothness:
    """A term on differences of neighbouring states whose Jacobian is a constant stencil.

    difference(frames, data) -> (dim,): unweighted difference in the tangent space whose
        derivative by the tangent of state k is coefficients[k] * identity. That is exact for
        vectors; for rotations it holds up to the rotation between neighbours.
    weights(data) -> (dim,): factors of the residual.
    """

    name: str
    difference: Callable
    weights: Callable
    coefficients: tuple[float, ...] = (1.0, -2.0, 1.0)

    @property
    def span(self):
        return len(self.coefficients)


def _add(shared, delta):
    return shared + delta


def _same(state):
    return state


@dataclass(frozen=True)
class Problem:
    """What is solved for; static (hashable), so that equal problems share one compilation.

    retract(state, delta (dim,)) -> state; shared_retract(shared, delta (shared_dim,)) -> shared.
    lift: the same as retract to first order at delta = 0, and cheaper to differentiate; None to
        differentiate retract itself.
    features(state) -> pytree that costs work on. It is computed and differentiated once per
        frame, whatever the number of costs: forward kinematics belongs there.
    tangents(state) -> (features, their derivatives by delta at 0, one leading axis of size dim
        more); None to differentiate features of lift.
    """

    costs: tuple[Cost | Smoothness, ...]
    retract: Callable
    dim: int
    shared_dim: int = 0
    shared_retract: Callable = _add
    lift: Callable | None = None
    features: Callable = _same
    tangents: Callable | None = None

    @property
    def bandwidth(self):
        return max(cost.span for cost in self.costs) - 1


@dataclass(frozen=True)
class Options:
    """Stopping rules: at most `iterations` attempts; or when a step lowers the cost by less than
    `tolerance` of it, or is refused although it was to lower it by no more; `damping` is the first
    lambda."""

    iterations: int = 30
    tolerance: float = 1e-5
    damping: float = 1e-3


class Result(NamedTuple):
    """Solution: x (pytree, T leading), shared (S,), final cost, cost per term at the end and at
    the start, cost before each iteration (NaN after the last), number of iterations, converged."""

    x: Any
    shared: jax.Array
    cost: jax.Array
    terms: dict[str, jax.Array]
    start_terms: dict[str, jax.Array]
    history: jax.Array
    iterations: jax.Array
    converged: jax.Array


class _Point(NamedTuple):
    x: Any
    shared: jax.Array
    terms: dict[str, jax.Array]


SEPARATION = 3
"""Invalid frames between two people or clips on the frame axis; windows span at most three."""
STUCK = 1e9
"""Damping at which no step can lower the cost."""
LEAST = 1e-7
"""Least damping."""


def pad_length(count, lengths=()):
    """The least of `lengths` that holds `count` frames.

    Without one, the next of 32, 48, 64, 96, 128, ... (steps of at most 1.5).
    """
    planned = [length for length in lengths if length >= count]
    if planned:
        return min(planned)
    length = 32
    while length < count:
        length = length * 3 // 2 if length & (length - 1) == 0 else length * 4 // 3
    return length


def pad(tree, length):
    """Repeat the last row of every leaf (numpy, leading axis T) up to `length` rows."""

    def extend(leaf):
        leaf = np.asarray(leaf)
        return np.concatenate([leaf, np.repeat(leaf[-1:], length - len(leaf), axis=0)])

    return jax.tree.map(extend, tree)


def join(parts, fill=None):
    """Rows (numpy) of people or clips one after another, SEPARATION rows between them: copies of
    the row before, or of `fill`."""
    parts = [np.asarray(part) for part in parts]
    out = []
    for k, part in enumerate(parts):
        out.append(part)
        if k + 1 < len(parts):
            gap = np.repeat(part[-1:], SEPARATION, axis=0)
            out.append(gap if fill is None else np.full_like(gap, fill))
    return np.concatenate(out)


@partial(
    jax.jit,
    static_argnums=(0,),
    static_argnames=("options",),
    # the other emitters of XLA for CPUs take longer to compile these loops and to run them
    compiler_options={"xla_cpu_use_fusion_emitters": False},
)
def solve(problem, x0, shared0, data, valid, options=Options()):  # noqa: B008  (frozen)
    """Minimise the sum of the problem's costs.

    x0: pytree of arrays with leading axis T; shared0: (shared_dim,); data: dict from a cost's
    name to its pytree with leading axis T; valid: (T,) bool.
    Returns a Result; invalid frames keep their initial state.

    Normal equations are built where a step was accepted; a refused one is repeated from the same
    equations with more damping. It is compiled on its own: `vmap` it, but do not `jit` around it.
    """
    minimise = partial(_minimise, problem, options)
    if jax.default_backend() == "cpu":
        # clips in step with each other wait for the slowest, and do not fit into the cache
        minimise = jax.custom_batching.sequential_vmap(minimise)
    return minimise(x0, jnp.asarray(shared0, jnp.result_type(float)), data, valid)


def _minimise(problem, options, x0, shared0, data, valid):
    limit = options.iterations

    def unfinished(carry):
        _, damping, iteration, converged, _, _ = carry
        return (iteration < limit) & ~converged & (damping < STUCK)

    def iterate(carry):
        best, damping, iteration, _, history, first = carry
        system, terms = _normal_equations(problem, best.x, best.shared, data, valid)
        first = jax.tree.map(partial(jnp.where, iteration == 0), terms, first)
        cost = sum(terms.values())

        def refused(attempt):
            _, damping, _, iteration, accepted, converged, _ = attempt
            return (iteration < limit) & ~accepted & ~converged & (damping < STUCK)

        def attempt(carry):
            best, damping, growth, iteration, _, _, history = carry
            step, shared_step, expected = _damped_step(system, damping)
            x = jax.vmap(problem.retract)(best.x, step)
            shared = best.shared
            if problem.shared_dim:
                shared = problem.shared_retract(shared, shared_step)
            terms = _terms(problem, x, shared, data, valid)
            gain = cost - sum(terms.values())
            accepted = gain > 0
            ratio = gain / expected
            shrink = jnp.maximum(1 / 3, 1 - (2 * ratio - 1) ** 3)
            small = jnp.where(accepted, gain, expected) <= options.tolerance * cost
            best = jax.tree.map(partial(jnp.where, accepted), _Point(x, shared, terms), best)
            return (
                best,
                jnp.where(accepted, jnp.maximum(damping * shrink, LEAST), damping * growth),
                2 * growth,
                iteration + 1,
                accepted,
                small,
                history.at[iteration].set(cost),
            )

        start = (_Point(best.x, best.shared, terms), damping, damping * 0 + 2, iteration)
        no = jnp.asarray(False)
        best, damping, _, iteration, _, converged, history = jax.lax.while_loop(
            refused, attempt, (*start, no, no, history)
        )
        return best, damping, iteration, converged, history, first

    dtype = shared0.dtype
    none = {cost.name: jnp.zeros((), dtype) for cost in problem.costs}
    best, _, iterations, converged, history, first = jax.lax.while_loop(
        unfinished,
        iterate,
        (
            _Point(x0, shared0, none),
            jnp.asarray(options.damping, dtype),
            jnp.asarray(0),
            jnp.asarray(False),
            jnp.full(limit, jnp.nan, dtype),
            none,
        ),
    )
    cost = sum(best.terms.values())
    return Result(best.x, best.shared, cost, best.terms, first, history, iterations, converged)


# ---------------------------------------------------------------------------------------------
# cost and its quadratic model


def _windows(tree, count, span):
    """The states of each window as a tuple of `span` pytrees with leading axis T; indices past
    the end repeat the last frame, their windows are never active."""

    def shifted(leaf, k):
        return jnp.concatenate([leaf[k:], jnp.repeat(leaf[-1:], min(k, count), axis=0)])

    return tuple(jax.tree.map(partial(shifted, k=k), tree) if k else tree for k in range(span))


def _active(valid, span):
    """(T,) 1 where a window of `span` frames starts and all of them are valid, else 0."""
    count = valid.shape[0]
    active = valid
    for k in range(1, span):
        active = active & jnp.concatenate([valid[k:], jnp.zeros(min(k, count), bool)])
    return active


def _robust(cost, residual):
    """Per-block cost and the factor that turns a block into its reweighted form."""
    if cost.robust is None:
        return jnp.sum(residual**2), jnp.ones_like(residual)
    squared = jnp.sum(residual**2, axis=-1, keepdims=True)
    ratio = 1.0 / (1.0 + squared / cost.robust**2)
    return jnp.sum(squared * ratio), jnp.broadcast_to(ratio, residual.shape)


def _terms(problem, x, shared, data, valid):
    """Each cost's value."""
    count = valid.shape[0]
    features = jax.vmap(problem.features)(x)
    terms = {}
    for cost in problem.costs:
        frames = _windows(features, count, cost.span)
        if isinstance(cost, Smoothness):

            def value(frames, item, cost=cost):
                return jnp.sum((cost.difference(frames, item) * cost.weights(item)) ** 2)

        else:

            def value(frames, item, cost=cost):
                return _robust(cost, cost.residual(frames, shared, item))[0]

        values = jax.vmap(value)(frames, data[cost.name])
        terms[cost.name] = 0.5 * jnp.sum(jnp.where(_active(valid, cost.span), values, 0.0))
    return terms


class _System(NamedTuple):
    """Normal equations. bands[k][t] (dim, dim): block of row t + k and column t, without its part
    diagonals[k][t] (dim,); None where there is no such part."""

    bands: list[jax.Array | None]
    diagonals: list[jax.Array]
    gradient: jax.Array
    edge: jax.Array
    corner: jax.Array
    shared_gradient: jax.Array


def _normal_equations(problem, x, shared, data, valid):
    """The quadratic model at a point, and each cost's value there."""
    count, dim, width = valid.shape[0], problem.dim, problem.bandwidth
    border = problem.shared_dim
    dtype = shared.dtype
    bands = [None] * (width + 1)
    diagonals = [jnp.zeros((count, dim), dtype) for _ in range(width + 1)]
    gradient = jnp.zeros((count, dim), dtype)
    edge = jnp.zeros((count, dim, border), dtype)
    corner = jnp.zeros((border, border), dtype)
    shared_gradient = jnp.zeros((border,), dtype)
    features, tangents = _differentiate(problem, x)
    terms, spans = {}, {}
    for cost in problem.costs:
        active = _active(valid, cost.span)
        frames = _windows(features, count, cost.span)
        if not isinstance(cost, Smoothness):
            moves = _windows(tangents, count, cost.span)
            values, rows = _linearise(problem, cost, frames, moves, shared, data[cost.name], active)
            terms[cost.name] = 0.5 * jnp.sum(values)
            spans.setdefault(cost.span, []).append(rows)
            continue
        weight = jnp.where(active[:, None], jax.vmap(cost.weights)(data[cost.name]) ** 2, 0.0)
        difference = jax.vmap(cost.difference)(frames, data[cost.name])
        difference = jnp.where(active[:, None], difference, 0.0)
        force = weight * difference
        terms[cost.name] = 0.5 * jnp.sum(force * difference)
        for i, ci in enumerate(cost.coefficients):
            gradient = gradient + ci * _later(force, i)
            for j, cj in enumerate(cost.coefficients[: i + 1]):
                diagonals[i - j] = diagonals[i - j] + ci * cj * _later(weight, j)
    for span, parts in spans.items():
        # one product for all costs of a span: few large products cost less than many small ones
        rows = jnp.concatenate(parts, axis=-1)
        product = jnp.einsum("tdr,ter->tde", rows, rows)
        end = span * dim
        for i in range(span):
            block = product[:, i * dim : (i + 1) * dim]
            gradient = gradient + _later(block[:, :, -1], i)
            edge = edge + _later(block[:, :, end : end + border], i)
            for j in range(i + 1):
                part = _later(block[:, :, j * dim : (j + 1) * dim], j)
                bands[i - j] = part if bands[i - j] is None else bands[i - j] + part
        common = jnp.sum(product[:, end : end + border, end:], axis=0)
        corner = corner + common[:, :border]
        shared_gradient = shared_gradient + common[:, border]
    return _System(bands, diagonals, gradient, edge, corner, shared_gradient), terms


def _later(leaf, shift):
    """leaf moved `shift` rows down, zeros above."""
    if not shift:
        return leaf
    blank = jnp.zeros((min(shift, leaf.shape[0]), *leaf.shape[1:]), leaf.dtype)
    return jnp.concatenate([blank, leaf[:-shift]])


def _damped_step(system, damping):
    """Steps (T, dim) and (shared_dim,), and by how much the quadratic model falls."""
    border = len(system.corner)
    bands, diagonals = list(system.bands), list(system.diagonals)
    total = diagonals[0]
    if bands[0] is not None:
        total = total + jnp.diagonal(bands[0], axis1=1, axis2=2)
    # frames and directions that nothing observes stay where they are
    lift = damping * jnp.maximum(total, 1e-4) + jnp.where(total > 0, 1e-6, 1.0)
    diagonals[0] = diagonals[0] + lift
    eye = jnp.eye(total.shape[1], dtype=total.dtype)
    for k, diagonal in enumerate(diagonals):
        square = eye * diagonal[:, :, None]
        bands[k] = square if bands[k] is None else bands[k] + square
    right = jnp.concatenate([-system.gradient[..., None], system.edge], axis=-1)
    solution = banded_solve(bands, right)
    step = solution[..., 0]
    if not border:
        expected = 0.5 * jnp.sum(step * (lift * step - system.gradient))
        return step, system.shared_gradient, expected
    sensitivity = solution[..., 1:]
    corner_diagonal = jnp.diag(system.corner)
    corner_lift = damping * jnp.maximum(corner_diagonal, 1e-4)
    corner_lift = corner_lift + jnp.where(corner_diagonal > 0, 1e-6, 1.0)
    corner = system.corner + jnp.diag(corner_lift)
    schur = corner - jnp.einsum("tds,tdu->su", system.edge, sensitivity)
    pull = -system.shared_gradient - jnp.einsum("tds,td->s", system.edge, step)
    shared_step = jnp.linalg.solve(schur, pull)
    step = step - sensitivity @ shared_step
    expected = 0.5 * jnp.sum(step * (lift * step - system.gradient)) + 0.5 * jnp.sum(
        shared_step * (corner_lift * shared_step - system.shared_gradient)
    )
    return step, shared_step, expected


def _differentiate(problem, x):
    """Features of all frames and their derivatives, one leading axis of size dim more."""
    if problem.tangents:
        return jax.vmap(problem.tangents)(x)
    lift = problem.lift or problem.retract

    def one(state):
        def moved(delta):
            return problem.features(lift(state, delta))

        zero = jnp.zeros(problem.dim, jnp.result_type(float))
        columns = jax.vmap(lambda d: jax.jvp(moved, (zero,), (d,))[1])(jnp.eye(problem.dim))
        return problem.features(state), columns

    return jax.vmap(one)(x)


def _linearise(problem, cost, frames, moves, shared, data, active):
    """Costs (T,) and (T, span * dim + shared_dim + 1, R): the derivatives of the residuals and,
    last, the residuals, reweighted if robust; 0 where not active (T,)."""

    def one(frames, moves, item, active):
        columns = []
        for k, move in enumerate(moves):

            def at(frame, k=k):
                return cost.residual((*frames[:k], frame, *frames[k + 1 :]), shared, item)

            def moved(direction, k=k, at=at):
                return jax.jvp(at, (frames[k],), (direction,))

            residual, column = jax.vmap(moved, out_axes=(None, 0))(move)
            columns.append(column)
        if problem.shared_dim:

            def common(delta):
                return cost.residual(frames, problem.shared_retract(shared, delta), item)

            def changed(direction):
                return jax.jvp(common, (jnp.zeros_like(direction),), (direction,))

            eye = jnp.eye(problem.shared_dim, dtype=shared.dtype)
            columns.append(jax.vmap(changed, out_axes=(None, 0))(eye)[1])
        value, factor = _robust(cost, residual)
        rows = jnp.where(active, jnp.concatenate([*columns, residual[None]]) * factor, 0.0)
        return jnp.where(active, value, 0.0), rows.reshape(len(rows), -1)

    return jax.vmap(one)(frames, moves, data, active)


# ---------------------------------------------------------------------------------------------
# linear algebra


def banded_solve(bands, right):
    """Solve H x = right for a symmetric positive definite block-banded H.

    bands: list of (T, d, d); bands[k][t] is the block in row t + k, column t. right: (T, d, m).
    Returns (T, d, m). Cost O(T d^3 len(bands)^2).

    As many frames as the bandwidth form one block, which leaves a block-tridiagonal matrix: one
    Cholesky factorisation, one triangular solve and one product each, few and large.
    """
    count, dim, columns = right.shape
    size = max(len(bands) - 1, 1)
    blocks, dtype = -(-count // size), right.dtype
    spare = blocks * size - count

    def grouped(leaf):
        leaf = jnp.pad(leaf, ((0, spare),) + ((0, 0),) * (leaf.ndim - 1))
        return leaf.reshape(blocks, size, *leaf.shape[1:])

    groups = [grouped(band) for band in bands]
    if spare:
        groups[0] = groups[0].at[-1, size - spare :].set(jnp.eye(dim, dtype=dtype))
    zero = jnp.zeros((blocks, dim, dim), dtype)

    def assemble(first_row):
        """Blocks of rows `first_row`, ... and columns 0, ... of each group."""
        rows = []
        for i in range(size):
            row = []
            for j in range(size):
                k = first_row + i - j
                if 0 <= k < len(groups):
                    row.append(groups[k][:, j])
                else:
                    row.append(zero)
            rows.append(jnp.concatenate(row, axis=2))
        return jnp.concatenate(rows, axis=1)

    diagonal, below = assemble(0), assemble(size)
    right = grouped(right).reshape(blocks, size * dim, columns)
    solve = partial(jax.lax.linalg.triangular_solve, lower=True)

    def forward(carry, item):
        root, y = carry
        off, block, rhs = item
        off = solve(root, off, left_side=False, transpose_a=True)
        root = jax.lax.linalg.cholesky(block - off @ off.T, symmetrize_input=False)
        y = solve(root, rhs - off @ y, left_side=True)
        return (root, y), (off, root, y)

    start = jnp.eye(size * dim, dtype=dtype), jnp.zeros((size * dim, columns), dtype)
    _, (off, root, y) = jax.lax.scan(forward, start, (_later(below, 1), diagonal, right))

    def backward(x, item):
        off, root, y = item
        x = solve(root, y - off.T @ x, left_side=True, transpose_a=True)
        return x, x

    off = jnp.concatenate([off[1:], jnp.zeros_like(off[:1])])
    _, x = jax.lax.scan(backward, jnp.zeros_like(start[1]), (off, root, y), reverse=True)
    return x.reshape(blocks * size, dim, columns)[:count]
