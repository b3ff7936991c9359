"""Counter-based random numbers: a draw is a hash of its purpose, so draws can be computed anywhere, in any order.

There is no generator state that would have to be stored, shared or moved between workers.
"""

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

UInts = NDArray[np.uint64]
Floats = NDArray[np.float64]

# Constants of splitmix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)

_ALL_BITS = 2**64 - 1

_LN2 = float.fromhex("0x1.62e42fefa39efp-1")
_SQRT_HALF = float.fromhex("0x1.6a09e667f3bcdp-1")
_ATANH_TERMS = tuple(1.0 / (2 * k + 1) for k in range(12))


def key(seed: int, *names: str) -> np.uint64:
    """Return the 64-bit key of a family of draws, such as the members among the customers of one product.

    Names are hashed in full, so no family depends on the order or number of others.
    """
    text = "\x1f".join((str(seed), *names)).encode()
    return np.uint64(int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little"))


def keys(seed: int, names: Iterable[str], what: str) -> UInts:
    """Return ``key(seed, name, what)`` of each name."""
    of_seed, text = hashlib.blake2b(f"{seed}\x1f".encode(), digest_size=8), f"\x1f{what}".encode()

    def digest(name: str) -> bytes:
        own = of_seed.copy()
        own.update(name.encode() + text)
        return own.digest()

    return np.frombuffer(b"".join(map(digest, names)), dtype="<u8").astype(np.uint64)


def keys_of_cells(family: np.uint64 | UInts, cells: NDArray[np.int64]) -> UInts:
    """Return the key of each time cell within a family; `family` and `cells` are broadcast."""
    return _mix(family + cells.astype(np.uint64) * _GOLDEN)


def uniforms(keys: UInts, index: NDArray[np.int64]) -> Floats:
    """Return the `index`-th number of each key, uniform in [0, 1) with 53 bits; `keys` and `index` are broadcast."""
    bits = _mix(keys + (index.astype(np.uint64) + np.uint64(1)) * _GOLDEN)
    bits >>= np.uint64(11)
    numbers = bits.view(np.int64).astype(np.float64)  # faster from signed numbers
    numbers *= 2.0**-53
    return numbers


def uniform(key: int, index: int) -> float:
    """Return one number of `uniforms`; plain integers are faster for a single draw."""
    z = (key + (index + 1) * int(_GOLDEN)) & _ALL_BITS
    z = ((z ^ (z >> 30)) * int(_MIX_1)) & _ALL_BITS
    z = ((z ^ (z >> 27)) * int(_MIX_2)) & _ALL_BITS
    return ((z ^ (z >> 31)) >> 11) * 2.0**-53


def exponentials(keys: UInts, index: NDArray[np.int64]) -> Floats:
    """Return the `index`-th waiting time of each key, exponential with mean 1; `keys` and `index` are broadcast."""
    numbers = uniforms(keys, index)
    numbers = logarithm(np.subtract(1.0, numbers, out=numbers))
    return np.negative(numbers, out=numbers)


def logarithm(x: Floats) -> Floats:
    """Return the natural logarithm of positive numbers, to within a few units in the last place.

    The last bit of numpy's logarithm differs between processors. Additions, multiplications and divisions do not differ
    (IEEE 754), so the stream is the same on every machine: ln(m 2^e) = e ln 2 + 2 atanh((m - 1) / (m + 1)).
    """
    mantissa, exponent = np.frexp(x)
    small = mantissa < _SQRT_HALF
    mantissa *= small + 1.0
    exponent -= small
    s = mantissa - 1.0
    mantissa += 1.0
    s /= mantissa
    square = np.multiply(s, s, out=mantissa)
    series = np.full_like(s, _ATANH_TERMS[-1])
    for term in reversed(_ATANH_TERMS[:-1]):
        series *= square
        series += term
    s *= 2.0
    s *= series
    result: Floats = np.multiply(exponent, _LN2, out=series)
    result += s
    return result


def _mix(z: UInts) -> UInts:
    """Apply the splitmix64 finaliser to each number in place: every input bit changes half of the output bits."""
    shifted = z >> np.uint64(30)
    z ^= shifted
    z *= _MIX_1
    z ^= np.right_shift(z, np.uint64(27), out=shifted)
    z *= _MIX_2
    z ^= np.right_shift(z, np.uint64(31), out=shifted)
    return z
