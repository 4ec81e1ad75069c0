"""The operations of layers: here each calls its reference."""

from __future__ import annotations

from collections.abc import Sequence

from e3any_backends.arrays import Array, Arrays
from e3any_backends.forms.couplings import Coupling, CouplingPlan
from e3any_backends.forms.matrices import MatrixCoupling
from e3any_backends.forms.paths import PathForm
from e3any_backends.forms.tables import handle, tables_of
from e3any_backends.references.contractions import (
    contract_entries,
    couple_by_matmul,
    couple_pairs_by_matmul,
    merged_axes,
)
from e3any_backends.references.edges import edge_products_by_segments
from e3any_backends.references.harmonics import harmonics_by_recursion
from e3any_backends.references.linear import dense_by_component, dense_by_degree, linear_by_matmul
from e3any_backends.references.matrices import couple_matrices_by_matmul
from e3any_backends.references.parities import couple_pair_parities, couple_parities, couple_paths
from e3any_backends.references.paths import path_sums_by_segments

__all__ = ["Backend"]


class Backend(Arrays):
    """The operations of layers by their references, for libraries without a backend of their own.

    Backends of libraries override operations. Sizes are written L for a largest degree, P for the length of a parity
    axis (1 or 2), F and G for numbers of features, and S for terms that are summed over.
    """

    def supports(self, operation: str, *arrays: Array) -> bool:
        """Return whether a kernel supports an operation for given arrays.

        Parameters
        ----------
        operation : {'harmonics', 'contraction', 'linear', 'edge_products', 'path_sums'}
            The operation.
        *arrays : array
            Its operands; of ``'linear'``, features and one matrix.

        Returns
        -------
        bool
            True if a kernel is used; else the logger ``e3any`` says why not.
        """
        return False

    # -- harmonics ------------------------------------------------------------------------------------------

    def harmonics(self, r: Array, factors: tuple[float, ...], order: tuple[int, ...], unit: bool) -> Array:
        """Evaluate real solid harmonics of vectors, or spherical ones.

        Parameters
        ----------
        r : array of shape (..., 3)
            Vectors.
        factors : tuple of float
            Factor of every degree 0, ..., L.
        order : tuple of int
            The position in the result of each component, degree by degree and m = -l..l.
        unit : bool
            Whether vectors are normalised first.

        Returns
        -------
        array of shape (..., (L+1)**2)
            The harmonics.
        """
        return harmonics_by_recursion(self, r, factors, order, unit)

    # -- edges ----------------------------------------------------------------------------------------------

    def edge_products(
        self,
        x: Array,
        angular: Array,
        radial: Array,
        src: Array,
        dst: Array,
        num: int,
        indices_are_sorted: bool = False,
    ) -> Array:
        r"""Sum products of basis functions and features over edges.

        .. math:: A_{imk} = \sum_{e \to i} Y_{em} \, g_{el(m)} \, x_{s(e)k}

        Parameters
        ----------
        x : array of shape (N, K, F)
            Features of the senders.
        angular : array of shape (E, (L+1)**2)
            Angular parts Y.
        radial : array of shape (E, L+1, F)
            Radial parts g of degree l = degree(m).
        src, dst : integer arrays of shape (E,)
            Senders and receivers; numbers outside [0, N) or [0, num) are padding.
        num : int
            Number of receivers.
        indices_are_sorted : bool
            A promise that ``dst`` ascends.

        Returns
        -------
        array of shape (num, (L+1)**2, K, F)
            The sums.
        """
        return edge_products_by_segments(self, x, angular, radial, src, dst, num, indices_are_sorted)

    def convolve(
        self,
        x: Array,
        angular: Array,
        radial: Array,
        kernel: Array,
        indices: tuple[Array, Array],
        num: int,
        plan: CouplingPlan,
        indices_are_sorted: bool = False,
    ) -> Array | None:
        """Sum products over edges as :meth:`edge_products` and couple the sums, by one kernel for GPUs.

        Parameters
        ----------
        x : array of shape (N, P, (L+1)**2, F)
            Features of the senders.
        angular, radial, num
            See :meth:`edge_products`.
        kernel, plan
            See :meth:`couple_pair_features`.
        indices : tuple of integer arrays of shape (E,)
            Receivers and senders.
        indices_are_sorted : bool
            Whether receivers ascend.

        Returns
        -------
        array of shape (num, P', (L'+1)**2, F) or None
            The coupled sums; None if there is no kernel for these arrays.
        """
        return None

    def sums_paths(self, x: Array, angular: Array, weights: Array) -> bool:
        """Return whether :meth:`path_sums` stores nothing for every edge, with kernels for these arrays."""
        return self.supports("path_sums", x, angular, weights)

    def path_sums(
        self,
        x: Array,
        angular: Array,
        weights: Array,
        src: Array,
        dst: Array,
        num: int,
        form: PathForm,
        indices_are_sorted: bool = False,
    ) -> Array:
        r"""Sum couplings of features with harmonics over edges, with weights of every edge and path.

        .. math:: z_{in} = \sum_{e \to i} \sum_{(k,m,n,p,c)} c \, q_{ep} \, x_{s(e)k} \, Y_{em}

        Parameters
        ----------
        x : array of shape (N, X)
            Features of the senders, block by block, see :class:`~e3any_backends.forms.paths.PathForm`.
        angular : array of shape (E, M)
            Harmonics Y.
        weights : array of shape (E, Q)
            Weights q, block by block.
        src, dst : integer arrays of shape (E,)
            Senders and receivers; numbers outside [0, N) or [0, num) are padding.
        num : int
            Number of receivers.
        form : PathForm
            The table.
        indices_are_sorted : bool
            A promise that ``dst`` ascends.

        Returns
        -------
        array of shape (num, Z)
            The sums, block by block.
        """
        operands = x, angular, weights
        return path_sums_by_segments(self, self.couple, operands, src, dst, num, form, indices_are_sorted)

    # -- couplings ------------------------------------------------------------------------------------------

    def couple_features(self, x: Array, y: Array, kernel: Array, plan: CouplingPlan) -> Array:
        """Couple two features of one or both parities.

        Parameters
        ----------
        x, y : array of shape (..., P1, (L1+1)**2, F) and (..., P2, (L2+1)**2, F)
            Factors; leading axes broadcast.
        kernel : array of shape (P1, L1+1, P2, L2+1, P3, L3+1, F)
            Weights of all couplings, forbidden ones included.
        plan : CouplingPlan
            The table.

        Returns
        -------
        array of shape (..., P3, (L3+1)**2, F)
            The product.
        """
        return couple_parities(self, self.couple, x, y, kernel, plan)

    def couple_paths(self, x: Array, y: Array, weights: Array, plan: CouplingPlan) -> Array:
        """Couple two features with weights that may differ along leading axes.

        Parameters
        ----------
        x, y : array of shape (..., P1, (L1+1)**2, F) and (..., P2, (L2+1)**2, F)
            Factors; leading axes broadcast.
        weights : array of shape (S, R, ..., paths, F)
            Weights of the paths of the plan, for its parities s and r, zero for those that are forbidden.
        plan : CouplingPlan
            The table.

        Returns
        -------
        array of shape (..., P3, (L3+1)**2, F)
            The product.
        """
        return couple_paths(self, self.couple, x, y, weights, plan)

    def couple_pair_features(self, pairs: Array, kernel: Array, plan: CouplingPlan) -> Array:
        """Couple sums of products of the components of two features, the first of which are proper tensors.

        Parameters
        ----------
        pairs : array of shape (..., (L1+1)**2, P2, (L2+1)**2, F)
            The (sums of) products.
        kernel : array of shape (1, L1+1, P2, L2+1, P3, L3+1, F)
            Weights of all couplings, forbidden ones included.
        plan : CouplingPlan
            The table.

        Returns
        -------
        array of shape (..., P3, (L3+1)**2, F)
            The product.
        """
        return couple_pair_parities(self, self.couple_pairs, pairs, kernel, plan)

    def couple(self, x: Array, y: Array, w: Array, coupling: Coupling) -> Array:
        r"""Couple two features: :math:`z_k = \sum_s \sum_{(i,j,k,p,c)} c \, w_{sp} x_{si} y_{sj}`.

        Parameters
        ----------
        x : array of shape (S, *lead, coupling.num_x, F)
            First factor.
        y : array of shape (S, *lead, coupling.num_y, F)
            Second factor, of the same rank.
        w : array of shape (S, *lead, coupling.num_paths, F)
            Weights, of the same rank.
        coupling : Coupling
            Table of couplings.

        Returns
        -------
        array of shape (*lead, coupling.num_z, F)
            The product. Axis 0 of the factors is summed over; the axes between it and the components broadcast.
        """
        return couple_by_matmul(self, x, y, w, coupling)

    def couple_pairs(self, pairs: Array, w: Array, coupling: Coupling) -> Array:
        r"""Couple sums of products: :math:`z_k = \sum_s \sum_{(i,j,k,p,c)} c \, w_{sp} A_{sij}`.

        Parameters
        ----------
        pairs : array of shape (S, *lead, coupling.num_x, coupling.num_y, F)
            The (sums of) products :math:`A_{ij}`.
        w : array of shape (S, *lead, coupling.num_paths, F)
            Weights.
        coupling : Coupling
            Table of couplings.

        Returns
        -------
        array of shape (*lead, coupling.num_z, F)
            The product. Axis 0 is summed over; the axes between it and the components broadcast.
        """
        return couple_pairs_by_matmul(self, pairs, w, coupling)

    def couple_matrices(
        self, x: Array, y: Array, weights: tuple[Array, Array, Array], coupling: MatrixCoupling
    ) -> Array:
        r"""Couple two features by products of matrices, see :mod:`e3any_backends.forms.matrices`.

        Parameters
        ----------
        x, y : array of shape (*lead, P, components, F)
            Factors, of the same rank; leading axes broadcast.
        weights : tuple of arrays of shape (2, degrees, F), (2, degrees, F) and (4, degrees, F)
            Weights of both parities of the factors, and of all products of parities.
        coupling : MatrixCoupling
            The table.

        Returns
        -------
        array of shape (*lead, P, components, F)
            The product.
        """
        return couple_matrices_by_matmul(self, x, y, weights, coupling)

    def contract(self, operands: Sequence[Array], form: int, output: int) -> Array:
        r"""Evaluate the derivative of a sparse form :math:`\sum_e c_e \prod_s v^s_{i_s(e)}` with respect to one slot.

        Parameters
        ----------
        operands : sequence of arrays of shape (S, *lead, components, F)
            One for every other slot, all of one rank; axis 0 is summed over, the others broadcast.
        form : int
            Number of the :class:`~e3any_backends.forms.couplings.SparseForm`.
        output : int
            Slot of the result.

        Returns
        -------
        array of shape (*lead, components of the slot, F)
            The contraction.
        """
        return contract_entries(self, operands, tables_of(form), output)

    # Couplings as contractions, for libraries with a kernel of contractions.

    def _couple_by_contraction(self, x: Array, y: Array, w: Array, coupling: Coupling) -> Array:
        return self.contract((x, y, w), handle(coupling, "product_form"), 2)

    def _couple_pairs_by_contraction(self, pairs: Array, w: Array, coupling: Coupling) -> Array:
        flat = merged_axes(self.xp, pairs, 2, pairs.ndim - 3)
        return self.contract((flat, w), handle(coupling, "pair_form"), 1)

    def _couple_matrices_by_contraction(
        self, x: Array, y: Array, weights: tuple[Array, Array, Array], coupling: MatrixCoupling
    ) -> Array:
        xp, rank = self.xp, x.ndim - 2
        x, y, *scales = (merged_axes(xp, a, 2, rank) for a in (x, y, *weights))
        left = self.contract((x, scales[0]), handle(coupling.x, "form"), 1)
        right = self.contract((y, scales[1]), handle(coupling.y, "form"), 1)
        product = self._multiply_matrices(left, right, coupling)
        z = self.contract((product[None, ...], scales[2]), handle(coupling.z, "form"), 0)
        components = z.shape[-2] // coupling.z.num_parities
        return xp.reshape(z, (*z.shape[:-2], coupling.z.num_parities, components, z.shape[-1]))

    def _multiply_matrices(self, x: Array, y: Array, coupling: MatrixCoupling) -> Array:
        """Multiply matrices (*lead, 2 d d, F) of both parities to (*lead, 4 d d, F), those of all products."""
        return self.contract((x[None, ...], y[None, ...]), handle(coupling, "product_form"), 2)

    # -- linear maps ----------------------------------------------------------------------------------------

    def dense(self, x: Array, kernels: Sequence[Array], bias: Array | None, precision: object = None) -> Array:
        """Map the features of every irrep by a matrix of its own.

        Parameters
        ----------
        x : array of shape (..., P, (L+1)**2, F)
            Features.
        kernels : sequence of arrays of shape (F, G)
            A matrix for every irrep, parity by parity and degrees ascending.
        bias : array of shape (G,), optional
            Added to the first irrep, the scalars.
        precision : optional
            See :meth:`matmul`.

        Returns
        -------
        array of shape (..., P, (L+1)**2, G)
            Features.
        """
        if kernels[0].shape[0] * kernels[0].shape[1] < self.split_kernel_size:
            return dense_by_component(self, self.linear, x, kernels, bias, precision)
        return dense_by_degree(self, x, kernels, bias, precision)

    def linear(self, x: Array, w: Array, which: Array, bias: Array | None, precision: object = None) -> Array:
        """Multiply every component with one of several matrices, :math:`y_c = x_c W_{k(c)}`.

        Parameters
        ----------
        x : array of shape (..., C, F)
            Rows.
        w : array of shape (K, F, G)
            Matrices.
        which : integer array of shape (C,)
            The matrix that acts on each component.
        bias : array of shape (G,), optional
            Added to component 0.
        precision : optional
            See :meth:`matmul`.

        Returns
        -------
        array of shape (..., C, G)
            The products.
        """
        return linear_by_matmul(self, x, w, which, bias, precision)
