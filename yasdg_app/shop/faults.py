"""Network faults of sales messages: which message is late, duplicated, dropped, overtaken or corrupt.

A pure function of the seed, the product and the number of its sale. It needs no stream, and works for any part of one.
The sales themselves do not depend on it. Times and delays are in microseconds, on the shop's clock.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yasdg_app.config.catalog import Product
from yasdg_app.config.settings import FAULTS, FaultSettings
from yasdg_app.shop.demand import Ints, microseconds
from yasdg_app.shop.randomness import Floats, UInts, keys, uniform, uniforms

Kinds = NDArray[np.int8]

KINDS = ("none", *FAULTS)
"""Names of the kinds, by their numbers."""
NONE, LATE, DUPLICATE, DROPPED, OUT_OF_ORDER, CORRUPT = range(len(KINDS))

_DRAWS = 4  # per sale: its fault, its delay, and for a corrupt message the kind and the position of the damage
_KIND, _DELAY, _DAMAGE, _PLACE = range(_DRAWS)


class Drawn(NamedTuple):
    """The faults of some sales, one row per sale."""

    kinds: Kinds
    """One of NONE, LATE, DUPLICATE, DROPPED, OUT_OF_ORDER, CORRUPT."""
    delays: Ints
    """Microseconds from event time to arrival: above 0 for LATE and OUT_OF_ORDER, else 0."""


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults of a shop. Create it with `of`."""

    seed: int
    shares: tuple[float, ...]
    """Cumulative shares in the order of `FAULTS`: the share of sales that have this fault or one before it."""
    late_by: tuple[int, int]
    out_of_order_by: int

    @classmethod
    def of(cls, settings: FaultSettings, seed: int) -> "Faults":
        """Return the faults of a shop with the given seed."""
        shares = [getattr(settings, kind) for kind in FAULTS]
        through = tuple(float(sum(shares[: place + 1])) for place in range(len(shares)))
        shortest, longest = map(microseconds, settings.late_by)
        return cls(seed, through, (shortest, longest), microseconds(settings.out_of_order_by))

    @property
    def longest(self) -> int:
        """The longest possible delay in microseconds."""
        late, _, dropped, out_of_order, _ = self.shares
        return max(self.late_by[1] if late else 0, self.out_of_order_by if out_of_order > dropped else 0)

    def keys(self, product_ids: Iterable[str]) -> UInts:
        """Return the key of each product's draws."""
        return keys(self.seed, product_ids, "fault")

    def of_sales(self, product: Product, numbers: Ints) -> Drawn:
        """Return the faults of sales of a product, by their numbers."""
        return self.of_rows(self.keys([product.product_id]), numbers)

    def of_rows(self, products: UInts, numbers: Ints) -> Drawn:
        """Return the faults of sales of many products, each given by the key of its product and its number."""
        products = np.broadcast_to(products, numbers.shape)
        passed = np.searchsorted(self.shares, uniforms(products, numbers * _DRAWS + _KIND), side="right")
        kinds: Kinds = np.where(passed < len(self.shares), passed + 1, NONE).astype(np.int8)
        delays = np.zeros(len(numbers), dtype=np.int64)
        rows = np.flatnonzero((kinds == LATE) | (kinds == OUT_OF_ORDER))
        if len(rows):
            delays[rows] = self._delays(kinds[rows], uniforms(products[rows], numbers[rows] * _DRAWS + _DELAY))
        return Drawn(kinds, delays)

    def damaged(self, product: int, number: int, value: bytes) -> bytes:
        """Return the damaged value of a CORRUPT message: a JSON object before, invalid JSON afterwards.

        `product`: the key of its product. The texts in the object must not contain quotes.
        """
        at = uniform(product, number * _DRAWS + _PLACE)
        match int(uniform(product, number * _DRAWS + _DAMAGE) * 4):
            case 0:  # nothing is left
                return b""
            case 1:  # truncated: the last bracket is always missing
                return value[: 1 + int(at * (len(value) - 1))]
            case 2:  # a quote is missing, so the others do not pair up
                places = [place for place, byte in enumerate(value) if byte == ord('"')]
                place = places[int(at * len(places))]
                return value[:place] + value[place + 1 :]
            case _:  # a byte that is never valid in UTF-8
                place = int(at * len(value))
                return value[:place] + b"\xff" + value[place + 1 :]

    def _delays(self, kinds: Kinds, u: Floats) -> Ints:
        """Return delays of LATE and OUT_OF_ORDER messages, uniform from the shortest to the longest."""
        late = kinds == LATE
        least = np.where(late, self.late_by[0], 1)
        most = np.where(late, self.late_by[1], self.out_of_order_by)
        result: Ints = least + (u * (most - least + 1)).astype(np.int64)
        return result
