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

Sources: Levenberg-Marquardt after Nocedal and Wright, Numerical Optimization, 2nd ed., ch. 10;
robust costs as iteratively reweighted least squares, Barron 2019, eq. 4 (Geman-McClure, there
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
    """Stopping rules: at most `iterations`; or when an accepted step lowers the cost by less
    than `tolerance` of it; `damping` is the first lambda."""

    iterations: int = 30
    tolerance: float = 1e-5
    damping: float = 1e-3


class Result(NamedTuple):
    """Solution: x (pytree, T leading), shared (S,), final cost, cost per term, cost before each
    iteration (NaN after the last), number of iterations, converged."""

    x: Any
    shared: jax.Array
    cost: jax.Array
    terms: dict[str, jax.Array]
    history: jax.Array
    iterations: jax.Array
    converged: jax.Array


def pad_length(count):
    """The planned length for `count` frames: 32, 48, 64, 96, 128, ... (steps of at most 1.5)."""
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


@partial(jax.jit, static_argnums=(0,), static_argnames=("options",))
def solve(problem, x0, shared0, data, valid, options=Options()):  # noqa: B008  (frozen)
    """Minimise the sum of the problem's costs.

    x0: pytree of arrays with leading axis T; shared0: (shared_dim,); data: dict from a cost's
    name to its pytree with leading axis T; valid: (T,) bool.
    Returns a Result; invalid frames keep their initial state.
    """
    shared0 = jnp.asarray(shared0, jnp.result_type(float))
    start, start_terms = _total(problem, x0, shared0, data, valid)
    history = jnp.full(options.iterations, jnp.nan).at[0].set(start)

    def unfinished(carry):
        _, _, damping, _, _, iteration, converged, _ = carry
        return (iteration < options.iterations) & ~converged & (damping < 1e9)

    def iterate(carry):
        x, shared, damping, cost, terms, iteration, _, history = carry
        step, shared_step = _step(problem, x, shared, data, valid, damping)
        x_new = jax.vmap(problem.retract)(x, step)
        shared_new = problem.shared_retract(shared, shared_step) if problem.shared_dim else shared
        cost_new, terms_new = _total(problem, x_new, shared_new, data, valid)
        better = cost_new < cost
        keep = partial(jnp.where, better)
        return (
            jax.tree.map(keep, x_new, x),
            keep(shared_new, shared),
            keep(jnp.maximum(damping * 0.25, 1e-7), damping * 6.0),
            keep(cost_new, cost),
            jax.tree.map(keep, terms_new, terms),
            iteration + 1,
            better & (cost - cost_new <= options.tolerance * cost),
            history.at[iteration].set(cost),
        )

    carry = (
        x0,
        shared0,
        jnp.asarray(options.damping, start.dtype),
        start,
        start_terms,
        jnp.asarray(0),
        jnp.asarray(False),
        history,
    )
    x, shared, _, cost, terms, iterations, converged, history = jax.lax.while_loop(
        unfinished, iterate, carry
    )
    return Result(x, shared, cost, terms, history, iterations, converged)


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


def _total(problem, x, shared, data, valid):
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
    return sum(terms.values()), terms


def _step(problem, x, shared, data, valid, damping):
    """Solve the damped normal equations; returns (T, dim) and (shared_dim,)."""
    count, dim, width = valid.shape[0], problem.dim, problem.bandwidth
    border = problem.shared_dim
    dtype = shared.dtype
    bands = [jnp.zeros((count, dim, dim), dtype) for _ in range(width + 1)]
    gradient = jnp.zeros((count, dim), dtype)
    edge = jnp.zeros((count, dim, border), dtype)
    corner = jnp.zeros((border, border), dtype)
    shared_gradient = jnp.zeros((border,), dtype)
    features, tangents = _differentiate(problem, x)
    for cost in problem.costs:
        active = _active(valid, cost.span).astype(dtype)
        frames = _windows(features, count, cost.span)
        if isinstance(cost, Smoothness):
            weight = jax.vmap(cost.weights)(data[cost.name]) ** 2 * active[:, None]
            force = weight * jax.vmap(cost.difference)(frames, data[cost.name])
            for i, ci in enumerate(cost.coefficients):
                gradient = gradient.at[i:].add(ci * force[: count - i])
                for j, cj in enumerate(cost.coefficients[: i + 1]):
                    diagonal = jnp.pad(ci * cj * weight[: count - j], ((j, 0), (0, 0)))
                    bands[i - j] = bands[i - j] + jax.vmap(jnp.diag)(diagonal)
            continue
        moves = _windows(tangents, count, cost.span)
        residual, jacobian = _linearise(problem, cost, frames, moves, shared, data[cost.name])
        residual = residual * active[:, None]
        jacobian = jacobian * active[:, None, None]
        parts = [jacobian[..., k * dim : (k + 1) * dim] for k in range(cost.span)]
        shared_part = jacobian[..., cost.span * dim :]
        for i, part in enumerate(parts):
            pull = jnp.einsum("trd,tr->td", part, residual)
            gradient = gradient.at[i:].add(pull[: count - i])
            for j in range(i + 1):
                block = jnp.einsum("trd,tre->tde", part, parts[j])
                bands[i - j] = bands[i - j].at[j:].add(block[: count - j])
            if border:
                block = jnp.einsum("trd,trs->tds", part, shared_part)
                edge = edge.at[i:].add(block[: count - i])
        if border:
            corner = corner + jnp.einsum("trs,tru->su", shared_part, shared_part)
            shared_gradient = shared_gradient + jnp.einsum("trs,tr->s", shared_part, residual)

    diagonal = jnp.einsum("tdd->td", bands[0])
    # frames and directions that nothing observes stay where they are
    lift = damping * jnp.maximum(diagonal, 1e-4) + jnp.where(diagonal > 0, 1e-6, 1.0)
    bands[0] = bands[0] + jax.vmap(jnp.diag)(lift)
    right = jnp.concatenate([-gradient[..., None], edge], axis=-1)
    solution = banded_solve(bands, right)
    if not border:
        return solution[..., 0], shared_gradient
    inner, sensitivity = solution[..., 0], solution[..., 1:]
    corner_diagonal = jnp.diag(corner)
    corner = corner + jnp.diag(
        damping * jnp.maximum(corner_diagonal, 1e-4) + jnp.where(corner_diagonal > 0, 1e-6, 1.0)
    )
    schur = corner - jnp.einsum("tds,tdu->su", edge, sensitivity)
    shared_step = jnp.linalg.solve(schur, -shared_gradient - jnp.einsum("tds,td->s", edge, inner))
    return inner - sensitivity @ shared_step, shared_step


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


def _linearise(problem, cost, frames, moves, shared, data):
    """Residuals (T, R) and Jacobians (T, R, span * dim + shared_dim), reweighted if robust."""

    def one(frames, moves, item):
        residual = cost.residual(frames, shared, item)
        columns = []
        for k, move in enumerate(moves):

            def at(frame, k=k):
                return cost.residual((*frames[:k], frame, *frames[k + 1 :]), shared, item)

            columns.append(jax.vmap(lambda d, k=k, at=at: jax.jvp(at, (frames[k],), (d,))[1])(move))
        if problem.shared_dim:

            def common(delta):
                return cost.residual(frames, problem.shared_retract(shared, delta), item)

            zero = jnp.zeros(problem.shared_dim, shared.dtype)
            columns.append(
                jax.vmap(lambda d: jax.jvp(common, (zero,), (d,))[1])(jnp.eye(problem.shared_dim))
            )
        jacobian = jnp.moveaxis(jnp.concatenate(columns), 0, -1)
        _, factor = _robust(cost, residual)
        jacobian = jacobian * factor[..., None]
        return (residual * factor).ravel(), jacobian.reshape(residual.size, -1)

    return jax.vmap(one)(frames, moves, data)


# ---------------------------------------------------------------------------------------------
# linear algebra


def banded_solve(bands, right):
    """Solve H x = right for a symmetric positive definite block-banded H.

    bands: list of (T, d, d); bands[k][t] is the block in row t + k, column t. right: (T, d, m).
    Returns (T, d, m). Cost O(T d^3 len(bands)^2).
    """
    width = len(bands) - 1
    count, dim, columns = right.shape
    dtype = right.dtype
    triangular = jax.scipy.linalg.solve_triangular
    # row t of the lower triangle: the blocks of columns t - width .. t
    rows = [
        jnp.concatenate([jnp.zeros((min(k, count), dim, dim), dtype), bands[k][: count - k]])
        for k in range(width, 0, -1)
    ]

    def forward(carry, item):
        # factors: the last `width` rows, newest last; each row ends with its diagonal block
        factors, solved = carry
        off, diagonal, rhs = item
        row = []
        for i in range(width):
            block = off[i]
            for j in range(i):
                block = block - row[j] @ factors[i][width - i + j].T
            row.append(triangular(factors[i][width], block.T, lower=True).T)
        for block in row:
            diagonal = diagonal - block @ block.T
        root = jnp.linalg.cholesky(diagonal)
        for i in range(width):
            rhs = rhs - row[i] @ solved[i]
        y = triangular(root, rhs, lower=True)
        current = tuple(row) + (root,)
        return ((factors + (current,))[1:], (solved + (y,))[1:]), (current, y)

    eye, zero = jnp.eye(dim, dtype=dtype), jnp.zeros((dim, dim), dtype)
    blank = (zero,) * width + (eye,)
    start = ((blank,) * width, (jnp.zeros((dim, columns), dtype),) * width)
    _, (factor, y) = jax.lax.scan(forward, start, (tuple(rows), bands[0], right))

    # column t of the lower triangle below the diagonal: rows t + 1 .. t + width
    below = [
        jnp.concatenate([factor[width - k][k:], jnp.zeros((min(k, count), dim, dim), dtype)])
        for k in range(1, width + 1)
    ]

    def backward(later, item):
        column, root, rhs = item
        for block, x in zip(column, later, strict=True):
            rhs = rhs - block.T @ x
        x = triangular(root, rhs, lower=True, trans=1)
        return ((x,) + later)[:width], x

    later = (jnp.zeros((dim, columns), dtype),) * width
    _, x = jax.lax.scan(backward, later, (tuple(below), factor[width], y), reverse=True)
    return x
