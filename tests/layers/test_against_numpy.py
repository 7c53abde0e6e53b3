"""CBAM in every option and every pair of options, on drawn shapes, against NumPy in float64."""

import itertools

import numpy as np
import pytest
from hypothesis import given, note, seed, settings
from hypothesis import strategies as st

from keras_cbam import CBAM
from tests.backend import BACKEND
from tests.layers.registry import Variant, back, numpy, put, reach

pytestmark = pytest.mark.backends


# JAX compiles every operation for every shape.
DIFFERENT_DRAWS = 3 if BACKEND == "jax" else 1000


def combinations(*pools):
    return [c for n in range(1, len(pools) + 1) for c in itertools.combinations(pools, n)]


FACTORS = {
    "channel_pooling": combinations("avg", "max", "lp", "lse"),
    "spatial_pooling": combinations("max", "avg", "conv"),
    "order": ["channel_spatial", "spatial_channel", "parallel"],
    "kernel_size": [3, 5, 7],
    "use_batch_norm": [True, False],
    "use_bias": [True, False],
    "data_format": ["channels_last", "channels_first"],
    "gate_activation": ["sigmoid", "hard_sigmoid"],
    "identity_init": [False, True],
}


def pairs(row):
    return set(itertools.combinations(row.items(), 2))


def covering_rows():
    """Rows of options that hold every pair of values of two factors, chosen greedily."""
    missing = {
        ((a, x), (b, y))
        for a, b in itertools.combinations(FACTORS, 2)
        for x in FACTORS[a]
        for y in FACTORS[b]
    }
    rows = []
    while missing:
        row = dict(min(missing, key=repr))
        for factor in FACTORS:
            if factor not in row:
                row[factor] = max(
                    FACTORS[factor],
                    key=lambda value, f=factor: len(in_order({**row, f: value}) & missing),
                )
        rows.append({factor: row[factor] for factor in FACTORS})
        missing -= pairs(rows[-1])
    return rows


def in_order(row):
    return pairs({factor: row[factor] for factor in FACTORS if factor in row})


ROWS = covering_rows()


def test_every_pair_of_options_agrees_with_numpy():
    """Each row of options on three drawn maps, the first of which hypothesis makes 1x1."""
    drawn, spreads, compared = [], [], set()

    def check(index, options):
        @seed(index % DIFFERENT_DRAWS)
        @settings(max_examples=3, database=None, deadline=None)
        @given(
            shape=st.tuples(*(st.integers(1, n) for n in (2, 9, 9, 24))),
            reduction_ratio=st.integers(1, 16),
        )
        def case(shape, reduction_ratio):
            note(f"{options}")
            gates = compare(shape, {**options, "reduction_ratio": reduction_ratio})
            drawn.append((*shape, reduction_ratio))
            compared.update(pairs(options))
            spreads.extend(np.ptp(gate) for gate in gates if gate.size >= 8)

        case()

    for index, options in enumerate(ROWS):
        check(index, options)
    for a, b in itertools.combinations(FACTORS, 2):
        for x, y in itertools.product(FACTORS[a], FACTORS[b]):
            assert ((a, x), (b, y)) in compared
    assert len(drawn) >= 200
    _, height, width, channels, ratio = np.transpose(drawn)
    for edge in (
        channels < ratio,
        height != width,
        (height == 1) & (width == 1),
        (height % 2 == 1) & (width % 2 == 1) & (height > 1),
    ):
        assert edge.sum() >= 20
    assert np.median(spreads) > 0.1  # The reference varies, but for dead units and full gates.


def compare(shape, options):
    x = np.random.default_rng(0).normal(0, 1, shape).astype("float32")
    variant = Variant(CBAM, options)
    layer = variant.built(shape)
    expected, gates = variant.expected(layer, x)
    given_map = put(x, options["data_format"])
    found = layer(given_map), *layer.attention(given_map)
    for a, b in zip(found, (expected, *gates), strict=True):
        assert np.abs(back(numpy(a), options["data_format"]) - b).max() <= 1e-5 * reach(b)
    return gates
