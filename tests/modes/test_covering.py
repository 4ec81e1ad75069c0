"""The sample of cases and modes."""

from __future__ import annotations

from itertools import combinations, product

import pytest
from modes.cases import KINDS, SIZES, Case
from modes.covering import covering, rows_to_test


def anything(row):
    return True


FACTORS = {"kind": tuple("abcdefg"), "size": (1, 2, 3), "mode": (4, 5, 6, 7), "kernels": (True, False)}


@pytest.mark.parametrize("strength", [1, 2, 3])
def test_every_combination_that_is_allowed_is_held(strength):
    def allowed(row):
        return row["kind"] != "a" or row["mode"] != 4 or row["kernels"]

    rows = covering(FACTORS, allowed, strength)
    assert all(map(allowed, rows))
    full = [row for values in product(*FACTORS.values()) if allowed(row := dict(zip(FACTORS, values)))]
    assert len(rows) < len(full)
    for names in combinations(FACTORS, strength):
        held = {tuple(row[name] for name in names) for row in rows}
        assert held == {tuple(row[name] for name in names) for row in full}


def test_some_factors_need_not_be_combined():
    rows = rows_to_test(FACTORS, anything, lambda row: row["size"] < 3, ("kind",))
    assert len(rows) < 12
    assert {row["kind"] for row in rows} == set(FACTORS["kind"])
    assert {(row["size"], row["mode"]) for row in rows} == set(product((1, 2), FACTORS["mode"]))


def test_samples_are_the_same_in_every_process():
    assert covering(FACTORS) == covering(FACTORS)
    assert covering(FACTORS)[3] == {"kind": "b", "size": 1, "mode": 6, "kernels": False}


def test_all_rows_are_tested_on_demand(monkeypatch):
    monkeypatch.setenv("E3ANY_MODES", "product")
    assert len(rows_to_test(FACTORS, anything, anything)) == 7 * 3 * 4 * 2
    monkeypatch.setenv("E3ANY_MODES", "triples")
    assert rows_to_test(FACTORS, anything, anything, ("kind",)) == covering(FACTORS, strength=3)
    monkeypatch.setenv("E3ANY_MODES", "some")
    with pytest.raises(ValueError, match="expected E3ANY_MODES to be 'pairs', 'triples' or 'product', got 'some'"):
        rows_to_test(FACTORS, anything, anything)


@pytest.mark.parametrize("kind", KINDS)
def test_cases_are_the_same_in_every_call(kind):
    case = Case(kind, features=16)
    (first, second), (x, y) = case.arguments(), case.arguments()
    assert str((first, second)) == str((x, y))
    assert str(case.parameters()) == str(case.parameters())
    assert set(SIZES) <= set(vars(case))
