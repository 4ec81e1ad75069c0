"""What programs do on accelerators is counted right, and growth is noticed."""

import os
import sys
from dataclasses import replace
from pathlib import Path

# Packages of accelerators look for devices where they are installed, unless JAX is told not to.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.append(str(Path(__file__).parents[2] / "asv_bench"))

import jax
import numpy as np
import pytest
from check import merged, report
from devices import eager, gpu, ptx, ratios, tpu, triton_calls
from devices.cases import CASES, EAGER
from devices.collect import Collection, case_name, section_name
from devices.figures import compiled_figures, lowered_figures, lowered_program
from devices.history import FOLDER, Growth, History, Named, grown, named_growth, unnamed
from devices.hlo import Module, num_bytes
from devices.table import compiled_rows, milliseconds
from devices.targets import H200, TARGETS, V5E, Target, versions
from instrument.cases import Key
from instrument.task import Task

# A gather of 4 rows of 100, a sum in place, and a loop of 5 trips.
GPU = """
HloModule jit_f, is_scheduled=true

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%gathered (p.0: f32[100,8], p.1: s32[4,1]) -> f32[4,8] {
  %p.0 = f32[100,8]{1,0} parameter(0)
  %p.1 = s32[4,1]{1,0} parameter(1)
  %rows = f32[4,8]{1,0} gather(%p.0, %p.1), offset_dims={1}, slice_sizes={1,8}
  ROOT %twice = f32[4,8]{1,0} add(%rows, %rows)
}

%scattered (q.0: f32[100,8], q.1: s32[4,1], q.2: f32[4,8]) -> f32[100,8] {
  %q.0 = f32[100,8]{1,0} parameter(0)
  %q.1 = s32[4,1]{1,0} parameter(1)
  %q.2 = f32[4,8]{1,0} parameter(2)
  ROOT %added = f32[100,8]{1,0} scatter(%q.0, %q.1, %q.2), to_apply=%add
}

%body (s: (s32[], f32[4,8])) -> (s32[], f32[4,8]) {
  %s = (s32[], f32[4,8]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%s), index=0
  %x = f32[4,8]{1,0} get-tuple-element(%s), index=1
  %dot = f32[4,8]{1,0} dot(%x, %x), lhs_contracting_dims={1}, rhs_contracting_dims={1}
  ROOT %t = (s32[], f32[4,8]{1,0}) tuple(%i, %dot)
}

ENTRY %main (table: f32[100,8], index: s32[4,1]) -> f32[100,8] {
  %table = f32[100,8]{1,0} parameter(0)
  %index = s32[4,1]{1,0} parameter(1)
  %gather = f32[4,8]{1,0} fusion(%table, %index), kind=kLoop, calls=%gathered
  %zero = s32[] constant(0)
  %start = (s32[], f32[4,8]{1,0}) tuple(%zero, %gather)
  %loop = (s32[], /*index=1*/f32[4,8]{1,0}) while(%start), body=%body, backend_config={"known_trip_count":{"n":"5"}}
  %last = f32[4,8]{1,0} get-tuple-element(%loop), index=1
  ROOT %scatter = f32[100,8]{1,0} fusion(%table, %index, %last), kind=kInput, calls=%scattered
}
"""

TPU = """
%body (s: (s32[], f32[8,128])) -> (s32[], f32[8,128]) {
  %s = (s32[]{:T(128)}, f32[8,128]{1,0:T(8,128)S(1)}) parameter(0)
  %x = f32[8,128]{1,0:T(8,128)S(1)} get-tuple-element(%s), index=1
  %y = f32[8,128]{1,0:T(8,128)S(1)} fusion(%x), kind=kLoop, calls=%f, backend_config={"estimated_cycles":"100"}
  ROOT %t = (s32[]{:T(128)}, f32[8,128]{1,0:T(8,128)S(1)}) tuple(%x, %y)
}

ENTRY %main (x: f32[8,128]) -> f32[8,128] {
  %x = f32[8,128]{1,0:T(8,128)} parameter(0)
  %loop = (s32[]{:T(128)}, f32[8,128]{1,0:T(8,128)S(1)}) while(%x), body=%body, TRIPS
  %g = f32[8,128]{1,0:T(8,128)} gather(%x, %x), backend_config={"estimated_cycles":"9223372036854775807"}
  ROOT %z = f32[8,128]{1,0:T(8,128)} fusion(%g), kind=kLoop, calls=%f, backend_config={"estimated_cycles":"11"}
}
""".replace("TRIPS", 'backend_config={"known_trip_count":{"n":"7"}}')


def test_a_gpu_reads_what_it_gathers_and_repeats_loops():
    row, index = 4 * 8 * 4, 4 * 4
    gather, scatter, dots = 2 * row + index, index + row + 2 * row, 5 * 3 * row
    assert gpu.count(GPU) == {
        "launches": 1 + 5 + 1,
        "bytes": gather + scatter + dots,
        "flops": 32 + 5 * 2 * 32 * 8 + 32,
        "unknown_loops": 0,
    }
    endless = gpu.count(GPU.replace("known_trip_count", "unknown"))
    assert (endless["launches"], endless["unknown_loops"]) == (3, 1)


def test_cycles_of_a_tpu_are_multiplied_by_trips():
    assert tpu.count(TPU) == {"cycles": 7 * 100 + 11, "unestimated": 1, "unknown_loops": 0}


def test_trips_are_read_off_the_condition():
    condition = """%condition (s: (s32[], f32[8,128])) -> pred[] {
  %n = s32[]{:T(128)} constant(3)
  %s = (s32[]{:T(128)}, f32[8,128]{1,0:T(8,128)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%s), index=0
  ROOT %c = pred[]{:T(512)} compare(%i, %n), direction=LT
}
"""
    text = TPU.replace("body=%body,", "condition=%condition, body=%body,").replace("known_trip_count", "unknown")
    assert tpu.count(condition + text) == {"cycles": 3 * 100 + 11, "unestimated": 1, "unknown_loops": 0}
    other = condition.replace("LT", "NE")
    assert tpu.count(other + text) == {"cycles": 100 + 11, "unestimated": 1, "unknown_loops": 1}


def test_tuples_are_as_large_as_their_arrays():
    (loop,) = [s.instruction for s in Module.parse(TPU.replace("known", "un")).steps() if s.instruction.name == "loop"]
    assert num_bytes(loop.shape) == 4 + 4 * 8 * 128
    assert num_bytes("(bf16[3]{0}, pred[], token[], u4[6]{0:E(4)})") == 6 + 1 + 3
    with pytest.raises(ValueError, match="expected a module in HLO with an entry"):
        Module.parse("nothing")


def test_a_program_of_this_machine_is_counted():
    m, k, n = 5, 7, 3
    x, y = (np.ones(shape, np.float32) for shape in ((m, k), (k, n)))
    counts = gpu.count(jax.jit(lambda x, y: x @ y).lower(x, y).compile().as_text())
    assert counts["launches"] == 1
    assert counts["bytes"] == 4 * (m * k + k * n + m * n)
    assert counts["flops"] == 2 * m * k * n


def test_registers_and_spills_are_read_from_the_log():
    log = """ptxas info    : Compiling entry function 'first' for 'sm_90a'
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 40 registers, used 0 barriers
ptxas info    : Compiling entry function 'second' for 'sm_90a'
    96 bytes stack frame, 64 bytes spill stores, 80 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers"""
    first, second = ptx.read_log(log, 10)
    assert first == ptx.Kernel("first", 40, 0, 0, 10)
    assert second == ptx.Kernel("second", 255, 144, 96, 10)


def test_kernels_are_found_in_calls():
    source = b".version 8.8\n" + b"x" * 200  # a length of two bytes
    kernel = b"\x0a\x03add" + b"\x10\x04" + b"\x22" + bytes([len(source) % 128 + 128, len(source) // 128]) + source
    call = b"\x15\x00\x00\x00\x00" + b"\x0a" + bytes([len(kernel) % 128 + 128, len(kernel) // 128]) + kernel
    assert triton_calls._field(b"\x0a" + bytes([len(call) % 128 + 128, len(call) // 128]) + call, (1, 1, 4)) == source
    with pytest.raises(ValueError, match="expected the call of a Triton kernel"):
        triton_calls._field(kernel, (9,))


def test_eager_launches_are_operations_that_are_not_views():
    x = np.ones((6, 4), np.float32)
    found = eager.count(Task(lambda x: (2 * x.T).reshape(-1), (x,)))
    # A product, and a copy, as the transpose has to be reordered.
    assert found["forward"] == {"launches": 2, "bytes": 4 * x.nbytes}
    # The loss (square, sum), the gradient of the square (power, product, product), and that of the product.
    assert 5 <= found["backward"]["launches"] <= 10


KEY = Key("message_pass", (1, 1, 2, "sparse", "factored", 40), "backward")


@pytest.fixture(scope="module")
def lowered():
    with jax.enable_x64(False):
        return {name: lowered_program(target, "jax", KEY) for name, target in TARGETS.items()}


def test_programs_are_known_before_they_are_compiled(lowered):
    figures = lowered_figures(lowered["h200"])
    # Forty edges between two nodes, and lists of them; the value, and gradients of everything but the lists.
    features, basis, lists = 2 * 4 * 2, 40 * (8 + 4), 2 * 40
    weights = 2 * 8 * 2 + 8 * 2  # two degrees filter eight functions; couplings of 1 or 2 degrees each
    assert figures["minimum"] == 4 * (2 * (features + basis + weights) + lists + 1)
    assert figures["operations"] > 100
    assert "ffi" not in lowered["h200"].text  # no kernel of the CPU
    with jax.enable_x64(False):
        again, other = (lowered_program(H200, "jax", KEY._replace(mode=mode)) for mode in ("backward", "forward"))
    assert again.fingerprint == figures["program"]
    # GPUs take all edges at once, TPUs block by block.
    assert figures["program"] not in (other.fingerprint, lowered["v5e"].fingerprint)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_targets_compile_where_their_packages_are_installed(lowered, target):
    if missing := target.missing():
        pytest.skip(f"not installed: {', '.join(missing)}; the extra 'accelerators' has them")
    figures = compiled_figures(lowered[target.name])
    assert "failed" not in figures
    assert figures["code"] > 0
    if target is V5E:
        assert figures["cycles"] > 0
    else:
        assert 3 <= figures["launches"] < 100
        assert figures["bytes"] > figures["minimum"]
        assert 8 <= figures["registers"] <= 255
        assert figures["spilled"] == 0


def test_growth_is_found_and_can_be_named(tmp_path):
    before = History({"h200": {"jax": "1"}}, {"h200": {"f": {"program": "a", "launches": 3, "bytes": 10}, "g": {}}})
    before.put("cpu", "r", {"relative_time": 0.10})
    path = tmp_path / "main.json"
    before.save(path)
    assert History.load(path) == before
    assert '  "f": {"program": "a", "launches": 3, "bytes": 10},' in path.read_text().splitlines()
    assert History.load(tmp_path / "none.json") == History()
    after = History.load(path)
    after.put("h200", "f", {"program": "b", "launches": 4, "bytes": 9, "new": 7})
    after.put("h200", "g", {"failed": 1})
    after.put("cpu", "r", {"relative_time": 0.12})
    growth = [*grown(before, after)]
    assert growth == [Growth("h200", "f", "launches", 3, 4), Growth("h200", "g", "failed", 0, 1)]
    assert str(growth[0]) == "h200 f: launches grew from 3 to 4"
    after.put("cpu", "r", {"relative_time": 0.14})
    assert len([*grown(before, after)]) == 3
    named = tmp_path / "growth.toml"
    named.write_text('[[growth]]\nfigure = "h200 *: launches"\nto = 4\nwhy = "one kernel more"\n')
    assert unnamed(growth, named_growth(named)) == growth[1:]
    assert unnamed(growth, [Named("h200 f: launches", 3, "")]) == growth


def test_the_check_compares_what_the_same_compiler_made(capsys):
    before = History({"h200": {"jax": "1"}}, {"h200": {"f": {"launches": 3}, "g": {"launches": 3}}})
    collection = Collection(before, now=History({"h200": {"jax": "1"}}, {"h200": {"f": {"launches": 4}}}))
    assert [str(growth) for growth in report(before, collection)] == ["h200 f: launches grew from 3 to 4"]
    assert merged(before, collection).sections == {"h200": {"f": {"launches": 4}, "g": {"launches": 3}}}
    collection.now.put("h200", "f", {"launches": 2})
    assert report(before, collection) == []
    assert "h200 f: launches is 2 instead of 3" in capsys.readouterr().out
    collection.now.versions["h200"] = {"jax": "2"}
    collection.now.put("h200", "f", {"launches": 4})
    assert report(before, collection) == []
    assert "not compared, other versions: h200" in capsys.readouterr().out
    collection.not_compiled.append(("h200", "f"))
    assert merged(before, collection) == before


def test_ratios_that_are_equal_within_the_margin_keep_their_figure(monkeypatch):
    (first, *_), before = ratios.RATIOS, History()
    monkeypatch.setattr(ratios, "RATIOS", (first,))
    for measured, stored in (([0.10], 0.10), ([0.12], 0.10), ([0.09], 0.10), ([0.2, 0.11], 0.10), ([0.2, 0.3], 0.2)):
        times = iter(measured)
        monkeypatch.setattr(ratios, "_relative_time", lambda _, times=times: next(times))
        now = History()
        ratios.measure(before, now)
        (figures,) = now.sections["cpu"].values()
        assert figures == {"relative_time": stored}
        assert next(times, None) is None
        before = now


def test_programs_that_have_not_changed_are_not_compiled(lowered, monkeypatch):
    case, known = case_name(KEY), {**lowered_figures(lowered["h200"]), "launches": 5}
    before = History({"h200": versions(H200.packages)}, {"h200": {case: known}})
    monkeypatch.setattr("devices.collect.compiled_figures", lambda _: {"launches": 6})
    monkeypatch.setattr("devices.collect.lowered_program", lambda *_: lowered["h200"])

    def collected(missing, **options):
        monkeypatch.setattr(Target, "missing", lambda _: missing)
        collection = Collection(before, **options)
        collection._compile(H200, "jax", KEY)
        return collection.now.get("h200", case), collection.not_compiled

    assert collected([]) == collected(["triton"]) == (known, [])
    assert collected([], again=True) == ({"launches": 6}, [])
    before.put("h200", case, {**known, "program": "another"})
    assert collected([]) == ({"launches": 6}, [])
    assert collected(["triton"]) == (lowered_figures(lowered["h200"]), [("h200", case)])


def test_the_history_has_the_cases():
    history = History.load(FOLDER / "main.json")
    expected = {section: set() for section in (*TARGETS, "eager")}
    for case in CASES:
        for name in case.targets:
            expected[section_name(name, "jax")] |= {case_name(key) for key in case.by_mode()}
    expected["eager"] = {case_name(key) for case in EAGER for key in case.by_mode()}
    assert {name: set(history.sections[name]) for name in expected} == expected
    rows = [*compiled_rows(history, History.load(FOLDER / "peers.json"))]
    assert len(rows) == 2 + len(history.sections["h200"])


def test_estimates_add_traffic_and_launches():
    target = replace(H200, bytes_per_second=1e9, launch_seconds=1e-6)
    assert milliseconds(target, {"bytes": 2_000_000, "launches": 500}) == pytest.approx(2.5)
