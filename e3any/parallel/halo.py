"""Which rows parts of a graph send to each other, and when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from e3any_backends import Array
from numpy.typing import NDArray

from e3any.checks import shown

__all__ = ["Halo", "Round", "check_exchange", "check_parts", "make_rounds"]


class Round(NamedTuple):
    """Part of an exchange in which every part sends to at most one other, and receives from at most one.

    Parameters
    ----------
    size : int
        Number of rows that are sent, the same for all pairs.
    pairs : tuple of (int, int)
        Sending and receiving part.
    """

    size: int
    pairs: tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class Halo:
    """Rows of features that parts of a graph exchange, see :class:`GraphPartition`.

    Parameters
    ----------
    rows : integer array of shape (S,), or (K S,) for all of K parts
        The rows that a part sends, those of all rounds one after the other. Numbers >= ``num_rows`` are padding.
    rounds : tuple of (size, pairs)
        The rounds of an exchange, the same for all parts: the number of rows, and pairs of sending and receiving parts.
        The sizes add up to S.
    num_rows : int
        Number of rows n that a part has before an exchange; afterwards it has n + S.
    num_parts : int
        Number of parts K.
    part : int, optional
        Which part this is; None for all of them.
    """

    rows: Array
    rounds: tuple[Round, ...]
    num_rows: int
    num_parts: int
    part: int | None = None

    @property
    def size(self) -> int:
        """Number of rows S that each part sends, and each receives, in one exchange, padding included.

        With features of b bytes a row, an exchange sends at most S b bytes from each device, and its derivative as many
        back.
        """
        return sum(each.size for each in self.rounds)


def make_rounds(counts: NDArray[np.int64]) -> tuple[Round, ...]:
    """Schedule what parts send: pairs of about equal numbers of rows share a round.

    Parameters
    ----------
    counts : array of shape (K, K)
        Number of rows that part i sends to part j.

    Returns
    -------
    tuple of Round
        The rounds, of few rows together.
    """
    pairs = [(int(sender), int(receiver)) for sender, receiver in zip(*np.nonzero(counts), strict=True)]
    bits = {pair: int(counts[pair]).bit_length() for pair in pairs}
    orders = (
        sorted(pairs, key=lambda pair: (-counts[pair], (pair[1] - pair[0]) % len(counts))),
        # Bisection into a power of two numbers parts so that neighbours on opposite sides differ in one bit.
        sorted(pairs, key=lambda pair: (-bits[pair], pair[0] ^ pair[1])),
    )
    schedules = (_fill_rounds(order, counts) for order in orders)
    return min(schedules, key=lambda rounds: (sum(each.size for each in rounds), len(rounds)))


def _fill_rounds(pairs: Iterable[tuple[int, int]], counts: NDArray[np.int64]) -> tuple[Round, ...]:
    """Put each pair into the first round in which its sender does not send and its receiver does not receive yet."""
    rounds: list[dict[int, int]] = []
    received: list[set[int]] = []
    for sender, receiver in pairs:
        free = (r for r, sent in enumerate(rounds) if sender not in sent and receiver not in received[r])
        number = next(free, len(rounds))
        if number == len(rounds):
            rounds.append({})
            received.append(set())
        rounds[number][sender] = receiver
        received[number].add(receiver)
    return tuple(Round(max(int(counts[pair]) for pair in sent.items()), tuple(sorted(sent.items()))) for sent in rounds)


def check_exchange(x: Any, halo: Any) -> None:
    """Raise an error unless features are rows of a part, one array or a dictionary of arrays, that fit a halo."""
    if not isinstance(halo, Halo):
        raise TypeError(f"expected halo to be a Halo of a GraphPartition, got {shown(halo)}")
    for block in x.values() if isinstance(x, Mapping) else [x]:
        if tuple(block.shape[:1]) != (halo.num_rows,):
            raise ValueError(
                f"expected x with the {halo.num_rows} rows of one part, got shape {tuple(block.shape)}; "
                "GraphPartition.split_nodes returns rows of parts"
            )
    if tuple(halo.rows.shape) != (halo.size,):
        raise ValueError(
            f"expected the halo of one part, with {halo.size} rows, got rows of shape {tuple(halo.rows.shape)}; "
            "shard it, or take it from GraphPartition.part"
        )


def check_parts(halo: Halo, num_parts: int, what: str) -> None:
    """Raise a ValueError unless a graph has as many parts as there are devices or processes."""
    if num_parts != halo.num_parts:
        raise ValueError(f"expected {what} for {halo.num_parts} parts of a graph, got {num_parts}")
