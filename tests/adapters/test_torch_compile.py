"""PyTorch modules under torch.compile and torch.export; tests/modes compiles every layer at all sizes."""

from __future__ import annotations

import inspect
import io
import os
import shutil
from functools import partial

import e3any_torch
import numpy as np
import pytest
import torch
from e3any_backends import backend_of
from e3any_torch import nn, ops, so3
from torch.utils._pytree import tree_map
from torch_cases import CASES, every_layer

from e3any import Layout
from e3any.nn import Layer
from e3any.testing import assert_parity

# PyTorch itself still uses what it warns of.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")

compiled = partial(torch.compile, fullgraph=True, backend="aot_eager")


@pytest.fixture(autouse=True)
def _fresh():
    """Forget what has been compiled: there is a limit to how often one function is."""
    torch._dynamo.reset()


R = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
X = torch.randn(4, 2, 9, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
NODES = torch.tensor([0, 0, 2, 1])
ROTATIONS = so3.rotation(R, 0.3)


@pytest.mark.parametrize(
    ("function", "argument"),
    [
        (partial(so3.spherical_harmonics, max_degree=3), R),
        (partial(so3.solid_harmonics, max_degree=2, cartesian_order=False), R),
        (partial(so3.wigner_d, max_degree=3, cartesian_order=False), ROTATIONS),
        (partial(so3.rotation, angle=0.3), R),
        (lambda r: so3.rotation_euler(r[..., 0], r[..., 1], 0.1), R),
        (so3.euler_angles_from_rotation, ROTATIONS),
        (lambda r: so3.alignment_rotation(r, r[:1]), R),
        (partial(nn.basis, max_degree=2, num=3, radial_fn=nn.reciprocal_bernstein, cutoff_fn=nn.smooth_cutoff), R),
        (
            lambda r: tuple(
                nn.basis(
                    r,
                    max_degree=1,
                    num=12,
                    radial_fn=partial(nn.exponential_bernstein, use_exponential_weighting=True),
                    damping_fn=nn.smooth_damping,
                    factored=True,
                )
            ),
            R,
        ),
        (lambda r: nn.reciprocal_mapping(r * r, "damped"), R),
        (lambda r: nn.smooth_switch(r) + nn.cosine_cutoff(r), R),
        (lambda x: nn.add(*(f(x) for f in (nn.silu, nn.shifted_softplus, nn.serf, nn.gelu, nn.mish))), X),
        (lambda x: nn.add(nn.reflect(x[:, :1]), nn.change_max_degree_or_type(x, 1)), X),
        (lambda x: nn.rotate(x, so3.wigner_d(ROTATIONS[0], 2)) * nn.even_degree_mask(2), X),
        (lambda x: ops.indexed_softmax(x, dst_idx=NODES, num_segments=3), X),
        (lambda x: ops.indexed_sum(x, dst_idx=NODES, num_segments=3), X),
        (lambda x: ops.indexed_max(x[None], adj_idx=NODES[None], where=NODES[None] > 0), X),
        (lambda x: ops.gather_src(torch.stack([x, x]), src_idx=torch.stack([NODES, NODES])), X),
        (lambda x: x[ops.sparse_pairwise_indices(4)[0]], X),
    ],
)
def test_functions_compile_as_a_whole(function, argument):
    module = torch.nn.Module()
    values = torch.utils._pytree.tree_leaves(function(argument))
    outputs = torch.utils._pytree.tree_leaves(compiled(function)(argument))
    assert_parity(outputs, values)
    assert not list(module.parameters())


def test_layers_of_users_may_have_tables():
    def weights(number):
        return np.arange(1.0, number)

    class Weighted(Layer):
        """Scales features."""

        def forward(self, p, x):
            return x * backend_of(x).table(weights, 3, like=x)

    module = e3any_torch.to_torch(Weighted(), Layout(2, 2, True))
    assert_parity(compiled(module)(X), module(X))


def test_a_model_compiles_once_for_all_sizes():
    module = CASES["composed"].module()
    run = compiled(module, dynamic=True)
    run(*CASES["composed"].arguments(num=4)[0])
    with torch.compiler.set_stance("fail_on_recompile"):
        for num in (3, 7):
            inputs, _ = CASES["composed"].arguments(num=num)
            assert_parity(run(*inputs), module(*inputs))


@pytest.mark.skipif(
    not (os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")),
    reason="the default compiler of PyTorch needs one of C++",
)
def test_default_compiler_gives_the_same_numbers():
    case = CASES["Tensor, proper"]
    module, (inputs, _) = case.module(), case.arguments()
    assert_parity(torch.compile(module, fullgraph=True)(*inputs), module(*inputs))


def test_lazy_modules_are_called_before_they_are_compiled_or_exported():
    module = e3any_torch.to_torch(CASES["Dense"].layer)
    with pytest.raises(RuntimeError, match="expected a module with parameters to compile or export, got one that was"):
        torch.export.export(module, (X,))
    module(X)
    assert_parity(compiled(module)(X), module(X))


@pytest.mark.parametrize("name", ["MessagePass, sparse", "composed"])
def test_modules_are_exported_by_the_compiler(name):
    case = CASES[name]
    module, (inputs, options) = case.module(), case.arguments()
    program = torch.export.export(module, inputs, options, strict=True)
    assert_parity(program.module()(*inputs, **options), module(*inputs, **options))


@every_layer
def test_programs_for_all_sizes_are_saved_and_loaded(case):
    module, (inputs, options) = case.module(), case.arguments()
    first, named = tree_map(lambda x: {0: torch.export.Dim.DYNAMIC}, (inputs, options))
    sizes = inspect.signature(module.forward).bind(*first, **named).arguments
    program = torch.export.export(module, inputs, options, dynamic_shapes=dict(sizes))
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    for num in (4, 5):
        inputs, options = case.arguments(num=num)
        assert_parity(loaded(*inputs, **options), module(*inputs, **options))
