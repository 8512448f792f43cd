"""Interpolation between nodes, and which come next, against scipy's interpolants."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import interpolate as curves
from scipy import spatial

from ravine.landscapes import refine


def surface(rows: int, columns: int) -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    return np.exp(2 * x * x + np.sin(3 * y) + x * y)


@given(st.integers(0, 2**32 - 1))
def test_the_logarithm_is_scipys_cubic_interpolant(seed: int) -> None:
    chance = np.random.default_rng(seed)
    loss = surface(13, 9)
    known = chance.random(loss.shape) < 0.4
    known[[0, 0, -1, -1], [0, -1, 0, -1]] = True

    found = refine.interpolate(loss, known)

    at = np.argwhere(known)
    theirs = curves.RBFInterpolator(at, np.log(loss[known]), kernel="cubic", degree=1)
    np.testing.assert_array_equal(found[known], loss[known])
    np.testing.assert_allclose(
        found[~known], np.exp(theirs(np.argwhere(~known))), rtol=1e-7, atol=0
    )


def test_beyond_400_nodes_the_nearest_give_what_all_of_them_give() -> None:
    loss = surface(33, 33)
    known = np.random.default_rng(0).random(loss.shape) < 0.5
    known[[0, 0, -1, -1], [0, -1, 0, -1]] = True
    assert known.sum() > 400

    found = refine.interpolate(loss, known)

    whole = curves.RBFInterpolator(np.argwhere(known), np.log(loss[known]), kernel="cubic")
    np.testing.assert_allclose(np.log(found[~known]), whole(np.argwhere(~known)), atol=2e-3)
    np.testing.assert_allclose(found, loss, rtol=0.01)


def test_holes_are_where_the_nearest_computed_node_is_one() -> None:
    loss, known = surface(11, 11), np.zeros((11, 11), bool)
    known[::3, ::3] = True
    loss[3, 6] = np.inf

    found = refine.interpolate(loss, known)

    holes, finite = np.argwhere(known & ~np.isfinite(loss)), np.argwhere(known & np.isfinite(loss))
    wanted = np.argwhere(~known)
    near = [spatial.cKDTree(nodes).query(wanted)[0] for nodes in (holes, finite)]
    expected = {tuple(p) for p in wanted[near[0] <= near[1]]} | {(3, 6)}
    assert {tuple(p) for p in np.argwhere(np.isnan(found))} == expected


def test_the_next_nodes_are_those_where_scipys_interpolants_differ_most() -> None:
    loss, known = surface(17, 17), np.zeros((17, 17), bool)
    known[::4, ::4] = True
    at, wanted = np.argwhere(known), np.argwhere(~known)
    values = np.log(loss[known])
    cubic = curves.RBFInterpolator(at, values, kernel="cubic", degree=1)(wanted)
    flat = curves.LinearNDInterpolator(at, values)(wanted)
    on_edges = (wanted % 4 == 0).any(1)  # squares are cut in two as either library likes

    ours = refine._flat(at, values, wanted)

    np.testing.assert_allclose(ours[on_edges], flat[on_edges], atol=1e-12)
    first = refine.next_nodes(loss, known, 1)[0]
    bend = np.abs(cubic - ours)
    assert bend[(wanted == first).all(1)][0] >= 0.95 * bend.max()


def test_computed_nodes_on_one_line_leave_the_choice_to_the_gaps() -> None:
    loss, known = surface(9, 9), np.zeros((9, 9), bool)
    known[4, :] = True

    chosen = refine.next_nodes(loss, known, 3)

    assert {row for row, _ in chosen} <= {0, 8}


@pytest.mark.parametrize("shape", [(1, 9), (9, 1)])
def test_a_line_is_interpolated_linearly(shape: tuple[int, int]) -> None:
    loss, known = surface(*shape), np.zeros(shape, bool)
    known.flat[::2] = True

    found = refine.interpolate(loss, known).ravel()

    half = np.interp(np.arange(9), np.arange(0, 9, 2), np.log(loss.ravel()[::2]))
    np.testing.assert_allclose(np.log(found), half, atol=1e-12)
