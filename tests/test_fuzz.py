"""The fuzzer: it finds nothing in a few hundred cases, and it does find faults."""

from __future__ import annotations

import subprocess
import sys
from itertools import count

import numpy as np
import pytest
from fuzz import __main__ as program
from fuzz import interrupts, libraries, reference
from fuzz.case import CASES_OF_PROGRAM, Call, Case, drawn, kinds_of, run
from fuzz.guards import guarded
from fuzz.placements import PLACEMENTS, placed, prepared
from fuzz.programs import Program, Spec
from fuzz.settings import Settings
from fuzz.worker import Result, watch


def one_program_of_each_kind(library):
    """Return numbers of cases: a few of one program of each kind, which take longer to compile than to run."""
    first, numbers = {}, count(0, CASES_OF_PROGRAM[library])
    while len(first) < len(kinds_of(library)):
        number = next(numbers)
        first.setdefault(drawn(library, 0, number).call.kind, number)
    return [n + k for kind, n in first.items() for k in range(1 if kind == "interrupts" else 4)]


CASES = {
    "numpy": lambda: list(range(140)),
    "torch": lambda: list(range(100)),
    "jax": lambda: one_program_of_each_kind("jax"),
}


@pytest.mark.parametrize("library", list(CASES))
def test_random_calls_give_what_references_give(library):
    results = list(watch(library, 0, CASES[library]()))
    assert {r.kind for r in results} == set(kinds_of(library))
    found = [r for r in results if r.differences]
    assert not found, "\n".join(program.report(library, 0, (), r) for r in found)


@pytest.mark.parametrize("number", range(4))
def test_cases_are_the_same_whenever_they_are_drawn(number):
    names = ("tensor", "message pass")
    one, two = drawn("numpy", 3, number, names), drawn("numpy", 3, number, names)
    assert str(one) == str(two)
    assert str(one) != str(drawn("numpy", 4, number, names))


def first(library, kind, special):
    """Return the first case of a kind that has such numbers, and several rows of them."""
    for number in range(400):
        found = drawn(library, 0, number, (kind,))
        inputs = [s for s in found.call.program.specs.values() if s.role == "features"]
        if found.special == special and all(s.has_rows and s.shape[0] > 3 for s in inputs):
            return found
    raise AssertionError("expected such a case among 400")


@pytest.mark.parametrize(("library", "kind"), [("numpy", "dense"), ("torch", "tensor"), ("torch", "norms")])
def test_wrong_numbers_are_noticed(monkeypatch, library, kind):
    assert run(library, first(library, kind, "none")) == []
    right = libraries.LIBRARIES[library]

    def wrong(*arguments):
        results = right(*arguments)
        return {**results, "value": results["value"] * np.asarray(1.01, results["value"].dtype)}

    monkeypatch.setitem(libraries.LIBRARIES, library, wrong)
    (found,) = run(library, first(library, kind, "none"))
    assert "numbers are wrong" in found


def test_terms_that_cancel_for_all_inputs_are_seen():
    """A derivative is zero, and what roundings leave of its terms is as large as these."""
    specs = {"x": Spec("features", (4, 3)), "y": Spec("parameters", (4, 3), has_rows=False)}
    tested = Program("nothing", lambda a: (a["x"] * a["y"]) * 3.0 - (a["x"] * 3.0) * a["y"], specs, order=1)
    rng = np.random.default_rng(0)
    arrays = {"x": 1e6 * rng.uniform(1.0, 2.0, (4, 3)), "y": rng.uniform(1.0, 2.0, (4, 3))}
    weights = reference.Weights(np.ones((4, 3)), {n: np.ones((4, 3)) for n in specs})
    results = reference.expected(tested, arrays, weights, 1)
    sizes = reference.magnitudes(tested, arrays, weights, 1, results, rng)["d/d y"]
    assert np.abs(results["d/d y"]).max() < 1e-8
    assert ((sizes > 1e5) & (sizes < 2e7)).all()


def test_errors_of_ordinary_numbers_are_as_large_as_roundings():
    specs = {n: Spec("features", (4, 3)) for n in "xy"}
    tested = Program("product", lambda a: a["x"] * a["y"], specs, order=1)
    rng = np.random.default_rng(0)
    arrays = {n: rng.uniform(1.0, 2.0, (4, 3)) for n in specs}
    weights = reference.Weights(np.ones((4, 3)), {n: np.ones((4, 3)) for n in specs})
    results = reference.expected(tested, arrays, weights, 1)
    for name, size in reference.magnitudes(tested, arrays, weights, 1, results, rng).items():
        assert (size <= 3.0 * results[name].max(axis=1, keepdims=True)).all()


@pytest.mark.parametrize("of_edges", [True, False])
def test_numbers_that_are_none_may_reach_derivatives_of_their_own_edge_alone(of_edges):
    """An edge that is padding has no effect, but a form may multiply its numbers with zero."""
    specs = {"x": Spec("features", (3, 1), of_edges=True), "w": Spec("features", (3, 1), of_edges=of_edges)}
    tested = Program("nothing", lambda a: 0.0 * (a["x"] * a["w"]), specs, order=1, is_algebraic=True)
    call = Call("", tested, Settings(False, 1, False, False, False), "float64", dict.fromkeys(specs, "float64"))
    found = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        found += run("torch", Case(call, "nan", 1, dict.fromkeys(specs, "usual"), rng))
    assert any("d/d" in line for line in found) is not of_edges


@pytest.mark.parametrize(("replacement", "word"), [(0.0, "lost"), (np.nan, "spread")])
def test_numbers_that_are_none_are_neither_lost_nor_spread(monkeypatch, replacement, word):
    assert run("numpy", first("numpy", "dense", "nan")) == []
    right = libraries.LIBRARIES["numpy"]
    monkeypatch.setitem(
        libraries.LIBRARIES, "numpy", lambda *a: {n: np.full_like(r, replacement) for n, r in right(*a).items()}
    )
    assert any(word in found for found in run("numpy", first("numpy", "dense", "nan")))


def test_inputs_that_are_written_to_are_noticed(monkeypatch):
    right = libraries.LIBRARIES["numpy"]

    def writes(program, arrays, *rest):
        results = right(program, arrays, *rest)
        for array in arrays.values():
            if array.flags.writeable:
                array[...] = 3.0
        return results

    monkeypatch.setitem(libraries.LIBRARIES, "numpy", writes)
    assert any("was written to" in found for found in run("numpy", first("numpy", "dense", "none")))


@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (4, 3, 2)])
@pytest.mark.parametrize("dtype", ["float32", "uint8", "bool"])
@pytest.mark.parametrize("placement", sorted({*PLACEMENTS["numpy"], *PLACEMENTS["torch"]}))
def test_placements_keep_numbers(rng, placement, dtype, shape):
    array = prepared(rng.integers(100, size=shape).astype(dtype), placement, rng)
    found = placed(array, placement, rng)
    np.testing.assert_array_equal(found, array)
    assert found.dtype.newbyteorder("=") == array.dtype


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="pages are protected on Linux alone")
@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("writes", [True, False])
def test_who_goes_beyond_a_guarded_array_ends_the_process(at_end, writes):
    code = f"""
import numpy as np
from fuzz.guards import guarded

array = guarded((3, 5), np.float32, at_end={at_end})
array[...] = 1
assert array.sum() == 15
beyond = np.lib.stride_tricks.as_strided(array[{"-1:, -1:" if at_end else ":1, :1"}], (2,), ({4 if at_end else -4},))
print("ready", flush=True)
{"beyond[1] = 1" if writes else "print(beyond[1])"}
print("alive")
"""
    command = [sys.executable, "-c", code]
    environment = {"PYTHONPATH": ":".join(sys.path)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert result.stdout == "ready\n", result.stderr
    assert result.returncode < 0


def test_memory_of_guarded_arrays_is_their_own():
    one, two = guarded((3,), "float64"), guarded((3,), "float64")
    one[:] = 1
    assert not two.any()


DIES = """
import argparse, json, os, signal
parser = argparse.ArgumentParser()
for name in ("worker", "library", "seed", "kinds", "numbers"):
    parser.add_argument("--" + name)
options = parser.parse_args()
with os.fdopen(int(options.worker), "w", buffering=1) as lines:
    for number in json.loads(options.numbers):
        case = {"number": number, "kind": "kind", "text": "text"}
        print(json.dumps(case), file=lines)
        if number in (1, 3):
            os.kill(os.getpid(), signal.SIGSEGV)
        print(json.dumps({**case, "differences": []}), file=lines)
"""


def test_cases_that_end_the_process_are_reported_and_the_rest_is_run(monkeypatch, tmp_path):
    (tmp_path / "dies.py").write_text(DIES)
    monkeypatch.syspath_prepend(tmp_path)
    results = list(watch("numpy", 0, [0, 1, 2, 3], module="dies"))
    assert [r.number for r in results] == [0, 1, 2, 3]
    assert [bool(r.differences) for r in results] == [False, True, False, True]
    assert results[1].differences[0] == "ends the process: SIGSEGV"


def test_processes_that_run_nothing_are_an_error(monkeypatch, tmp_path):
    (tmp_path / "fails.py").write_text("raise OSError('no disk')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeError, match="no disk"):
        list(watch("numpy", 0, [0], module="fails"))


def test_interrupts_leave_arrays_and_later_calls_alone(rng):
    numbers = iter(range(1000))
    assert interrupts.differences(lambda: {"value": np.arange(5.0)}, rng) == []
    changing = interrupts.differences(lambda: {"value": np.asarray([float(next(numbers))])}, rng)
    assert changing == ["value: the next call gives other numbers"] * interrupts.TIMES


@pytest.mark.parametrize("kind", list(kinds_of("numpy")))
def test_kinds_can_be_chosen(kind):
    assert drawn("numpy", 0, 0, (kind,)).call.kind == kind


def test_reports_say_how_to_repeat_a_case(monkeypatch, capsys):
    wrong = Result(7, "tensor", "what it is", ["value: 1 is wrong"])
    right = Result(8, "tensor", "what it is")
    monkeypatch.setattr(program, "watch", lambda *_: iter([right, wrong]))
    assert program.main(["--library", "torch", "--seed", "5", "--cases", "2"]) == 1
    output = capsys.readouterr().out
    assert 'make fuzz ARGS="--library torch --seed 5 --case 7"' in output
    assert "value: 1 is wrong" in output
    assert output.splitlines()[-1].split() == ["torch", "all", "2", "1"]
    monkeypatch.setattr(program, "watch", lambda *_: iter([right]))
    assert program.main(["--library", "torch", "--cases", "1"]) == 0
