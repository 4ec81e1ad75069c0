"""Irreps and how many features each has, for features that are dictionaries of arrays."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from e3any_backends import Array, Backend
from e3any_backends.forms.tables import lookup

from e3any.checks import check_count, floating_backend, shown
from e3any.config import setting_or_default
from e3any.conventions import PARITIES, parity_names
from e3any.layout import Layout

__all__ = ["SCALARS", "Features", "Irreps", "in_order", "irrep_backend", "irrep_of", "terms_of"]

#: Features: an array (..., P, (L+1)**2, F), or a dictionary of arrays (..., 2l+1, F) by irrep.
Features: TypeAlias = Array | Mapping[str, Array]

#: Names of scalars, which activations and biases act on: of SO(3), and of even parity.
SCALARS = ("0", "0+")

_NAME = re.compile(r"(0|[1-9]\d*)([+-]?)")
# As in 128x0 + 64x1, 16x0+ + 8x1- or, in the words of e3nn, 16x0e + 8x1o.
_TERM = re.compile(r"\s*(?:(\d+)\s*x\s*)?(\d+)([+\-eo]?)\s*(?:\+|$)")
_OF_E3NN = {"e": "+", "o": "-"}


def irrep_of(name: Any) -> tuple[int, int | None]:
    """Return degree and parity of the name of an irrep: 0 for even, 1 for odd, None for an irrep of SO(3).

    Raises
    ------
    ValueError
        If it is not a name such as ``"1"``, ``"0+"`` or ``"1-"``.
    """
    if not isinstance(name, str):
        raise ValueError(_no_name(name))
    return lookup(_parsed, name)  # which compilers call instead of tracing it


def _parsed(name: str) -> tuple[int, int | None]:
    found = _NAME.fullmatch(name)
    if found is None:
        raise ValueError(_no_name(name))
    degree, parity = found.groups()
    return int(degree), PARITIES.index(parity) if parity else None


def _no_name(name: Any) -> str:
    return f"expected the name of an irrep, such as '1' of SO(3) or '1-' of O(3), got {shown(name)}"


@dataclass(frozen=True, repr=False)
class Irreps:
    """How many features each irrep has.

    It describes features that are dictionaries: one array of shape (..., 2l+1, F) for every irrep, with a number F of
    its own, for example ``{"0": (..., 1, 128), "1": (..., 3, 64)}``. A name with a sign is an irrep of O(3): ``"1-"``
    is a vector, ``"1+"`` a pseudovector. A name without a sign is an irrep of SO(3), which has no parity.

    Parameters
    ----------
    irreps : str or mapping or Irreps
        Numbers of features and names, such as ``"128x0 + 64x1"`` or ``{"0": 128, "1": 64}``. Their order is kept. The
        names of e3nn, ``"16x0e + 8x1o"``, mean ``"16x0+ + 8x1-"``.

    Raises
    ------
    ValueError
        If there is no irrep, a name is not that of an irrep or occurs twice, a number is not an integer >= 0, or some
        irreps have a parity and others have none.
    TypeError
        If ``irreps`` is neither a string nor a mapping.

    Examples
    --------
    >>> irreps = Irreps("128x0 + 64x1")
    >>> irreps["1"], irreps.max_degree, irreps.dim
    (64, 1, 320)
    >>> irreps.gated()
    Irreps('192x0 + 64x1')
    """

    irreps: Any
    _counts: dict[str, int] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        counts = _counts(self.irreps)
        object.__setattr__(self, "_counts", counts)
        object.__setattr__(self, "irreps", " + ".join(f"{count}x{name}" for name, count in counts.items()))

    @classmethod
    def of(cls, x: Any, name: str = "inputs", *, use_parity: bool | None = None) -> Irreps:
        """Read irreps off features.

        Parameters
        ----------
        x : mapping of arrays, or array of shape (..., P, (L+1)**2, F)
            Features.
        name : str
            Their name in error messages.
        use_parity : bool, optional
            Whether the irreps of an array have a parity; by default the setting of :class:`e3any.Config`.

        Returns
        -------
        Irreps
            The irreps by degree, then by parity. JAX does not keep the order of dictionaries.

        Raises
        ------
        ValueError
            If a name is not that of an irrep, shapes do not fit, or an array has both parities without ``use_parity``.
        TypeError
            If ``x`` is neither a mapping of arrays nor an array.
        """
        if isinstance(x, Mapping):
            _check_shapes(x, name)
            return cls({irrep: x[irrep].shape[-1] for irrep in in_order(x)})
        return cls.of_layout(Layout.of(x, name), use_parity=use_parity)

    @classmethod
    def of_layout(cls, layout: Layout, *, use_parity: bool | None = None) -> Irreps:
        """Return the irreps of a layout; options and errors are those of :meth:`of`."""
        has_parity = setting_or_default("use_parity", use_parity)
        if layout.pseudotensors and not has_parity:
            raise ValueError(f"expected a layout of one parity for use_parity=False, got {layout}")
        names = [name for _, _, name in parity_names(layout.max_degree, layout.num_parities)]
        return cls({name: layout.features for name in in_order(n if has_parity else n[:-1] for n in names)})

    def __getitem__(self, name: str) -> int:
        return self._counts[name]

    def __contains__(self, name: object) -> bool:
        return name in self._counts

    def __iter__(self) -> Iterator[str]:
        return iter(self._counts)

    def __len__(self) -> int:
        return len(self._counts)

    def items(self) -> Any:
        """Return pairs (name, number of features)."""
        return self._counts.items()

    def __str__(self) -> str:
        return str(self.irreps)

    def __repr__(self) -> str:
        return f"Irreps({self.irreps!r})"

    @property
    def has_parity(self) -> bool:
        """Whether they are irreps of O(3); else of SO(3)."""
        return irrep_of(next(iter(self)))[1] is not None

    @property
    def max_degree(self) -> int:
        """Largest degree."""
        return max(irrep_of(name)[0] for name in self)

    @property
    def dim(self) -> int:
        """Number of components of all features."""
        return sum(count * (2 * irrep_of(name)[0] + 1) for name, count in self.items())

    @property
    def scalar(self) -> str:
        """Name of the scalars that activations act on: ``"0+"`` or ``"0"``."""
        return "0+" if self.has_parity else "0"

    def gated(self) -> Irreps:
        """Return these irreps with one more scalar for every feature of the others, which :func:`e3any.nn.gate` takes.

        Returns
        -------
        Irreps
            The irreps. Scalars come first if there were none.
        """
        scalar = self.scalar
        gates = sum(count for name, count in self.items() if name != scalar)
        counts = dict(self.items()) if scalar in self else {scalar: 0, **dict(self.items())}
        return Irreps({**counts, scalar: counts[scalar] + gates})

    def layout(self) -> Layout:
        """Return the layout of the same features as one array.

        Returns
        -------
        Layout
            The layout.

        Raises
        ------
        ValueError
            If irreps differ in their numbers of features, or are not those of an array: all degrees up to the largest,
            with one or with both parities.
        """
        layouts = [Layout(self.max_degree, self[next(iter(self))], both) for both in (False, True)]
        for layout in layouts[: 1 + self.has_parity]:
            if dict(Irreps.of_layout(layout, use_parity=self.has_parity).items()) == dict(self.items()):
                return layout
        raise ValueError(
            f"expected irreps of an array, all degrees up to the largest with equally many features, got {self}"
        )

    def example(self, *lead: int) -> dict[str, Any]:
        """Return a dictionary of NumPy arrays of zeros, with the given leading axes."""
        return {name: np.zeros((*lead, 2 * irrep_of(name)[0] + 1, count), np.float32) for name, count in self.items()}


def in_order(names: Iterable[str]) -> list[str]:
    """Return the names of irreps by degree, then by parity."""
    return sorted(names, key=irrep_of)


def irrep_backend(x: Mapping[str, Array], name: str = "inputs") -> Backend:
    """Check features that are a dictionary, and return their backend.

    Raises
    ------
    ValueError
        If a name is not that of an irrep, or shapes do not fit.
    TypeError
        If an entry is not a floating-point array, or arrays belong to different libraries.
    """
    _check_shapes(x, name)
    return floating_backend(**{f"{name}[{irrep!r}]": block for irrep, block in x.items()})


def _check_shapes(x: Mapping[str, Any], name: str) -> None:
    """Raise an error unless the arrays of a dictionary are features of irreps with the same leading axes."""
    if not x:
        raise ValueError(f"expected {name} with at least one irrep, got an empty mapping")
    lead: tuple[int, ...] | None = None
    for irrep, block in x.items():
        degree, _ = irrep_of(irrep)
        if not hasattr(block, "shape"):
            raise TypeError(f"expected {name}[{irrep!r}] to be an array, got {shown(block)}")
        if len(block.shape) < 2 or block.shape[-2] != 2 * degree + 1:
            raise ValueError(
                f"expected {name}[{irrep!r}] of shape (..., {2 * degree + 1}, features), got {tuple(block.shape)}"
            )
        lead = tuple(block.shape[:-2]) if lead is None else lead
        if tuple(block.shape[:-2]) != lead:
            raise ValueError(
                f"expected leading axes {lead} of all irreps of {name}, got {tuple(block.shape[:-2])} of {irrep!r}"
            )
    _check_kind(list(x), name)


def _check_kind(names: list[str], what: str) -> None:
    """Raise a ValueError unless all irreps have a parity, or none has."""
    if len({irrep_of(name)[1] is None for name in names}) > 1:
        raise ValueError(f"expected {what} of O(3), with signs such as '1-', or of SO(3), without, got {names}")


def _counts(irreps: Any) -> dict[str, int]:
    """Return numbers of features by name, checked."""
    if isinstance(irreps, Irreps):
        return dict(irreps.items())
    if isinstance(irreps, str):
        return dict(lookup(_parsed_terms, irreps))
    if not isinstance(irreps, Mapping):
        raise TypeError(f"expected irreps as a string, such as '128x0 + 64x1', or as a mapping, got {shown(irreps)}")
    if not irreps:
        raise ValueError("expected at least one irrep, got none")
    for name, count in irreps.items():
        irrep_of(name)
        if type(count) is not int or count < 0:
            check_count(count, f"the number of features of {name!r}")
    _check_kind(list(irreps), "irreps")
    return dict(irreps)


def terms_of(text: str) -> list[tuple[str, int]]:
    """Return names and numbers of features in the order of a text, in which an irrep can occur several times.

    Raises
    ------
    ValueError
        If the text is not one such as ``"128x0 + 64x1"`` or ``"16x0e + 8x1o + 4x1o"``.
    """
    terms, at = [], 0
    while at < len(text):
        found = _TERM.match(text, at)
        if found is None or (found.end() == len(text) and text.rstrip().endswith("+") and not found[3]):
            raise ValueError(f"expected irreps such as '128x0 + 64x1' or '16x0+ + 8x1-', got {shown(text)}")
        number, degree, sign = found.groups()
        terms.append((str(int(degree)) + _OF_E3NN.get(sign, sign), int(number or 1)))
        at = found.end()
    return terms


def _parsed_terms(text: str) -> tuple[tuple[str, int], ...]:
    terms = terms_of(text)
    if len(dict(terms)) != len(terms):
        raise ValueError(f"expected every irrep once, got {shown(text)}")
    return tuple(_counts(dict(terms)).items())
