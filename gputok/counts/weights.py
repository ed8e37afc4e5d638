"""Weights of sources as whole numbers, so that weighted counts are exact and do not depend on the order of addition.

Sums of floats depend on the order of shards and threads, make ties a matter of chance, and are not exact above 2**53.
So a weight is a decimal, and all weights are brought to whole numbers without a common factor: 0.3, 1.7 and 12.5 become
3, 17 and 125. A word's count is the sum of whole weight x count over the sources.

Trainers see the text of each source as often as its whole weight says. Thresholds (`min_frequency`, `min_count`) are in
occurrences in a source of weight 1, whatever the whole weights are: `WordCounts.threshold` multiplies them by the whole
weight that 1 became. With a temperature, the source of the most text has weight 1. The threshold 0 leaves nothing out;
1 leaves out words that count less than one occurrence, since only sources of weights below 1 have them, and rarely.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

_NEAR = Fraction(1, 100)  # how far a whole weight may be from the share that a temperature asks for
_DIGITS = 50


def whole_weights(weights: Sequence[Any]) -> tuple[list[int], Fraction]:
    """Brings weights to whole numbers without a common factor; also returns the number (Fraction) that 1 became.

    Weights are decimals as strings ("0.3"), or numbers, read as Python shows them. ValueError: one is not above 0.

    Example:
        >>> whole_weights(["0.3", 1.7, 12.5])
        ([3, 17, 125], Fraction(10, 1))
    """
    exact = [_exact(weight) for weight in weights]
    if not exact:
        return [], Fraction(1)
    scale = Fraction(math.lcm(*(weight.denominator for weight in exact)))
    scale /= math.gcd(*(int(weight * scale) for weight in exact))
    return [int(weight * scale) for weight in exact], scale


def _exact(weight: Any) -> Fraction:
    try:
        exact = Fraction(str(weight))
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"a weight must be a number above 0, such as 2.5, not {weight!r}") from None
    if exact <= 0:
        raise ValueError(f"a weight must be above 0, not {weight}: leave the source out instead")
    return exact


def temperature_weights(sizes: Sequence[int], temperature: float | str) -> tuple[list[int], Fraction | int]:
    """The whole weights by which sources have the shares p ** temperature, instead of the shares p of their sizes.

    Of all whole weights whose ratios are within 1 % of the wanted ones, the smallest are taken: large weights would
    cost memory in training. The numbers are computed by `decimal`, so they are the same on each machine. The second
    result is the whole weight of the source of the most text, which stands for a weight of 1.

    A temperature of 0 counts all sources alike, 1 each by its size; 0.5 and 0.3 are usual (Conneau et al. 2020 call it
    alpha). Raises ValueError if it is not a number from 0 to 1.

    Example:
        >>> temperature_weights([9_000_000, 1_000_000], 0.5)
        ([1, 3], 1)
    """
    try:
        alpha = Fraction(str(temperature))
    except (ValueError, ZeroDivisionError):
        alpha = Fraction(-1)
    if not 0 <= alpha <= 1:
        raise ValueError(f"a temperature must be a number from 0 to 1, not {temperature!r}")
    with decimal.localcontext(prec=_DIGITS) as context:
        power = context.divide(alpha.numerator - alpha.denominator, alpha.denominator)
        shares = [context.power(size, power) if size else decimal.Decimal(0) for size in sizes]
        least = min((share for share in shares if share), default=decimal.Decimal(1))
        wanted = [Fraction(share / least) for share in shares]
    # Ends by factor 50: the smallest wanted weight is 1, and 50 times any larger one is within 1 % of a whole number
    for factor in range(1, 51):
        whole = [max(1, round(factor * weight)) for weight in wanted]
        if all(
            abs(n - factor * weight) <= _NEAR * factor * weight
            for n, weight in zip(whole, wanted, strict=True)
            if weight
        ):
            return whole, min((n for n, size in zip(whole, sizes, strict=True) if size), default=1)
    raise AssertionError("50 times any weight of at least 1 is near a whole number")
