"""Modes of PyTorch: ways to compute the value of a module and its derivatives."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any
from unittest import mock

import e3any_torch
import torch
from array_trees import tree_map
from e3any_backends import kernels
from e3any_backends.kernels.parallel import pool
from modes.cases import Case
from torch._subclasses import FakeTensorMode
from torch.func import functional_call, grad, jvp, vmap
from torch.nn.parallel import DistributedDataParallel
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch.utils.checkpoint import checkpoint

__all__ = ["COMPILERS", "EAGER", "Run", "reference", "settings"]

Results = dict[str, Any]


@contextmanager
def settings(use_kernels: bool, shares: int) -> Iterator[None]:
    """Switch kernels, and let as many threads share all work, however little."""
    with kernels.enabled(use_kernels), kernels.threads(shares):
        if shares == 1:
            yield
            return
        forced = mock.patch.multiple(pool, GRAIN=1, _PARTIAL_WORK=0)
        with forced, mock.patch.object(torch, "get_num_threads", return_value=shares):
            yield


@dataclass
class Run:
    """A module of a case, and what it is called with.

    Parameters
    ----------
    module : torch.nn.Module
        The module.
    inputs, options
        Tensors by position and by name; those of floating-point numbers are differentiated by, as are parameters.
    order : int
        The order of derivatives that are wanted.
    begin : callable
        Called before every backward pass.
    """

    module: torch.nn.Module
    inputs: tuple
    options: dict[str, Any]
    order: int = 2
    begin: Callable[[], None] = lambda: None

    @classmethod
    def of(cls, case: Case, order: int = 2, dtype: torch.dtype | None = None) -> Run:
        """Make the module of a case, whose numbers may be in another dtype."""

        def tensor(x: Any) -> torch.Tensor:
            t = torch.from_numpy(x)
            return t.to(dtype or t.dtype).requires_grad_() if t.is_floating_point() else t

        inputs, options = case.arguments()
        module = e3any_torch.to_torch(case.layer, *inputs, **options).to(dtype or getattr(torch, case.dtype))
        e3any_torch.load_tree(module, case.parameters())
        inputs, options = tree_map(tensor, (inputs, options))
        return cls(module, inputs, options, order)

    @property
    def leaves(self) -> list[torch.Tensor]:
        """Parameters, and inputs of floating-point numbers."""
        inputs = tree_flatten((self.inputs, self.options))[0]
        return [*self.module.parameters(), *(x for x in inputs if x.is_floating_point())]

    def loss(self, value: torch.Tensor) -> torch.Tensor:
        """Return a linear function of the value."""
        return (value * waves([value])[0]).sum()

    def results(self, function: Callable[..., Any] | None = None) -> Results:
        """Return the value, and derivatives of the order that is wanted, of a function of the inputs."""
        leaves = self.leaves
        value = (self.module if function is None else function)(*self.inputs, **self.options)
        results = {"value": value}
        self.begin()
        if self.order:
            results["first"] = gradients(self.loss(value), leaves, create_graph=self.order > 1)
        self.begin()
        if self.order > 1:
            results["second"] = gradients(dot(results["first"], waves(leaves)), leaves)
        return results

    def by_backward(self, function: Callable[..., Any] | None = None) -> Results:
        """Return the value and the first derivatives that tensors hold after a backward pass."""
        value = (self.module if function is None else function)(*self.inputs, **self.options)
        self.loss(value).backward()
        return {"value": value, "first": [torch.zeros_like(x) if x.grad is None else x.grad for x in self.leaves]}

    def as_function(self) -> tuple[Callable[..., torch.Tensor], tuple[torch.Tensor, ...]]:
        """Return the module as a function of all leaves, and these."""
        names = [name for name, _ in self.module.named_parameters()]
        flat, structure = tree_flatten((self.inputs, self.options))

        def function(*tensors: torch.Tensor) -> torch.Tensor:
            rest = iter(tensors[len(names) :])
            inputs, options = tree_unflatten([next(rest) if x.is_floating_point() else x for x in flat], structure)
            return functional_call(self.module, dict(zip(names, tensors)), inputs, options)

        return function, tuple(x.detach() for x in self.leaves)


def reference(case: Case, order: int) -> Results:
    """Return what every mode is to give: eager, without kernels, in double precision."""
    with settings(False, 1):
        return with_directional(Run.of(case, order, torch.float64).results())


def with_directional(results: Results) -> Results:
    """Add the derivative of the loss along a direction."""
    if "first" not in results:
        return results
    return {**results, "directional": dot(results["first"], waves(results["first"]))}


def waves(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return weights for numbers of tensors, without a pattern."""
    return [torch.cos(torch.arange(x.numel(), dtype=torch.float64) ** 2).reshape(x.shape).to(x) for x in tensors]


def dot(left: Sequence[torch.Tensor], right: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the sum of products of two lists of tensors."""
    return sum((x * y).sum() for x, y in zip(left, right, strict=True))


def gradients(value: torch.Tensor, leaves: Sequence[torch.Tensor], create_graph: bool = False) -> list[torch.Tensor]:
    """Return derivatives, which are zero where there is no dependence."""
    if not value.requires_grad:
        return [torch.zeros_like(x) for x in leaves]
    return list(
        torch.autograd.grad(value, leaves, create_graph=create_graph, allow_unused=True, materialize_grads=True)
    )


# -- eager modes --------------------------------------------------------------------------------------------


def eager(run: Run) -> Results:
    return run.results()


def inference(run: Run) -> Results:
    """Derivatives after a call in inference mode, which may have filled caches."""
    with torch.inference_mode():
        value = run.module(*run.inputs, **run.options)
    return {**run.results(), "value": value}


def anomalies(run: Run) -> Results:
    with torch.autograd.set_detect_anomaly(True):
        return run.results()


def checkpoints(run: Run) -> Results:
    return run.results(lambda *i, **o: checkpoint(run.module, *i, **o, use_reentrant=False))


def reentrant_checkpoints(run: Run) -> Results:
    """These give gradients to tensors that are arguments, if one of them is differentiated, by backward passes."""
    flat, structure = tree_flatten((run.inputs, run.options))

    def call(_: torch.Tensor, *flat: torch.Tensor) -> torch.Tensor:
        inputs, options = tree_unflatten(list(flat), structure)
        return run.module(*inputs, **options)

    some = torch.zeros((), requires_grad=True)
    return run.by_backward(lambda *i, **o: checkpoint(call, some, *flat, use_reentrant=True))


def hooks(run: Run) -> Results:
    """What is saved is unpacked, at most once in a backward pass, as a copy."""
    passes = [0]

    def pack(x: torch.Tensor) -> list[Any]:
        return [x.detach().clone(), -1]

    def unpack(packed: list[Any]) -> torch.Tensor:
        assert packed[1] < passes[0], "unpacked twice in one pass"
        packed[1] = passes[0]
        return packed[0]

    def begin() -> None:
        passes[0] += 1

    run.begin = begin
    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        return run.results()


def batched_gradients(run: Run) -> Results:
    value = run.module(*run.inputs, **run.options)
    weights = waves([value])[0]
    if not value.requires_grad:
        return {"value": value}
    options = {"is_grads_batched": True, "allow_unused": True}
    first = torch.autograd.grad(value, run.leaves, torch.stack([2 * weights, weights]), **options)
    return {
        "value": value,
        "first": [torch.zeros_like(leaf) if x is None else x[1] for x, leaf in zip(first, run.leaves)],
    }


def deep_copies(run: Run) -> Results:
    run.module = copy.deepcopy(run.module)
    return run.results()


def pickles(run: Run) -> Results:
    run.module = pickle.loads(pickle.dumps(run.module))
    return run.results()


def distributed(run: Run) -> Results:
    return run.by_backward(DistributedDataParallel(run.module))


def function_gradients(run: Run) -> Results:
    function, tensors = run.as_function()
    everything = tuple(range(len(tensors)))
    first = grad(lambda *t: run.loss(function(*t)), everything)
    second = grad(lambda *t: dot(first(*t), waves(tensors)), everything)
    return {"value": function(*tensors), "first": list(first(*tensors)), "second": list(second(*tensors))}


def maps_over_batches(run: Run) -> Results:
    function, tensors = run.as_function()
    everything = tuple(range(len(tensors)))
    batch = tuple(torch.stack([2 * x, x]) for x in tensors)
    first = vmap(grad(lambda *t: run.loss(function(*t)), everything))(*batch)
    return {"value": vmap(function)(*batch)[1], "first": [x[1] for x in first]}


def forward_derivatives(run: Run) -> Results:
    function, tensors = run.as_function()
    value, tangent = jvp(function, tensors, tuple(waves(tensors)))
    return {"value": value, "directional": run.loss(tangent)}


def _without_numbers(run: Run, make: Callable[[torch.Tensor], torch.Tensor]) -> Results:
    """Results of a lazy module that has seen nothing but shapes."""

    def stand_in(x: torch.Tensor) -> torch.Tensor:
        return make(x).requires_grad_(x.requires_grad)

    run.inputs, run.options = tree_map(stand_in, (run.inputs, run.options))
    run.module = e3any_torch.to_torch(run.module.description)
    run.module(*run.inputs, **run.options)
    return run.results()


def meta(run: Run) -> Results:
    with torch.device("meta"):
        return _without_numbers(run, lambda x: torch.empty(x.shape, dtype=x.dtype))


def fake(run: Run) -> Results:
    with FakeTensorMode():
        return _without_numbers(run, lambda x: torch.empty(x.shape, dtype=x.dtype))


@dataclass(frozen=True)
class Mode:
    """A mode, the order of derivatives that it gives, and whether there are numbers or only shapes."""

    run: Callable[[Run], Results]
    order: int = 2
    has_numbers: bool = True
    needs_parameters: bool = False
    context: Callable[[], Any] = nullcontext


#: Modes without a compiler.
EAGER = {
    "eager": Mode(eager),
    "inference": Mode(inference),
    "anomalies": Mode(anomalies),
    "checkpoints": Mode(checkpoints),
    "reentrant checkpoints": Mode(reentrant_checkpoints, 1),
    "hooks": Mode(hooks),
    "batched gradients": Mode(batched_gradients, 1),
    "deepcopy": Mode(deep_copies, 1),
    "pickle": Mode(pickles, 1),
    "distributed": Mode(distributed, 1, needs_parameters=True),
    "func.grad": Mode(function_gradients),
    "func.vmap": Mode(maps_over_batches, 1),
    "func.jvp": Mode(forward_derivatives, 1),
    "meta": Mode(meta, 1, has_numbers=False),
    "fake": Mode(fake, 1, has_numbers=False),
}


# -- compilers ----------------------------------------------------------------------------------------------


def compiled(run: Run) -> Results:
    return run.results(torch.compile(run.module, fullgraph=True, backend="aot_eager"))


def compiled_by_default(run: Run) -> Results:
    return run.results(torch.compile(run.module, fullgraph=True))


def exported(run: Run) -> Results:
    program = torch.export.export(run.module, run.inputs, run.options)
    run.module = program.module()
    return run.results()


#: Modes that compile, which takes seconds.
COMPILERS = {
    "aot_eager": Mode(compiled, 1),
    "inductor": Mode(compiled_by_default, 1),
    "export": Mode(exported, 1),
}
