"""Pool: objects with memory, one for each thread that works, which later calls use again."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Pool(Generic[T]):
    """Objects that no thread uses now. Any thread may take one, and give it back, unless an exception may have spoilt it.

    Args:
        make: makes an object where none is left, of the arguments of `take`.
        most: how many objects may wait; None: any number.

    Example:
        >>> pool = Pool(list)
        >>> pool.give([1])
        >>> pool.take(), pool.take("ab")
        ([1], ['a', 'b'])
    """

    def __init__(self, make: Callable[..., T], most: int | None = None) -> None:
        self._make = make
        self.free: deque[T] = deque(maxlen=most)  # append and pop are atomic
        self.give = self.free.append

    def take(self, *arguments: object) -> T:
        """Returns the object that came back last, which is most likely still in a cache of the processor; else a new one."""
        try:
            return self.free.pop()
        except IndexError:
            return self._make(*arguments)
