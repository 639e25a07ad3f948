"""Forward kinematics of the SMPL skeleton and its derivative."""

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402
import jaxlie  # noqa: E402

from pantograph import body, skeleton  # noqa: E402


def _random(seed=0):
    rng = np.random.default_rng(seed)
    return jnp.array(rng.normal(size=(24, 3))), jnp.array(rng.normal(size=3))


def test_agrees_with_the_body_model():
    model = body.load_body()
    turns, pelvis = _random()
    rotations = np.asarray(jaxlie.SO3.exp(turns).as_matrix())
    expected = body.joints(
        model, np.zeros(10), rotations[None, 0], rotations[None, 1:], np.asarray(pelvis)[None]
    )[0]
    found, _ = skeleton.forward(jnp.asarray(model.J_template), rotations, pelvis)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_derivative_agrees_with_the_chain_rule():
    rest, pelvis = _random(1)
    turns, _ = _random(2)

    def place(function, delta):
        local = jaxlie.SO3.exp(turns) @ jaxlie.SO3.exp(delta[3:75].reshape(24, 3))
        return function(rest + delta[75:].reshape(24, 3), local.as_matrix(), pelvis + delta[:3])

    zero = jnp.zeros(3 + 72 + 72)
    geometric = jax.jacfwd(lambda d: place(skeleton.forward, d))(zero)
    chained = jax.jacfwd(lambda d: place(skeleton.forward.fun, d))(zero)
    for found, expected in zip(geometric, chained, strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-5)
