"""The records that kernels take: as those of `typing`, without the time that each of its classes takes."""

import copy
import inspect
import pickle
import typing

from gputok.kernels.signatures import NamedTuple


class Ours(NamedTuple):
    """A record."""

    left: int
    right: str = "r"

    @property
    def both(self) -> str:
        return f"{self.left}{self.right}"


class Typed(typing.NamedTuple):
    left: int
    right: str = "r"


def told(work, kind):
    """What happens: the result, or the kind of the error."""
    try:
        return work(kind)
    except (TypeError, ValueError, AttributeError) as error:
        return AttributeError if isinstance(error, AttributeError) else TypeError


def test_records_are_those_of_typing():
    pickled = pickle.loads(pickle.dumps(Ours(1, "b")))
    assert (pickled, type(pickled), pickled.both) == ((1, "b"), Ours, "1b")
    for work in (
        lambda kind: kind(1),
        lambda kind: kind(right="x", left=2)._asdict(),
        lambda kind: kind(),
        lambda kind: kind(1, "b", 2),
        lambda kind: kind(1, other=2),
        lambda kind: kind(1)._replace(left=5),
        lambda kind: kind(1)._replace(other=5),
        lambda kind: setattr(kind(1), "left", 2),
        lambda kind: setattr(kind(1), "other", 2),
        lambda kind: kind._make([3, 4]).right,
        lambda kind: inspect.signature(kind).bind(1, right="x").arguments,
        lambda kind: (kind._fields, kind._field_defaults, kind.__match_args__, kind.__annotations__),
        lambda kind: repr(kind(1)).partition("(")[2],
        lambda kind: (copy.copy(kind(1)) == kind(1), hash(kind(1)), kind(1) < kind(2)),
    ):
        assert told(work, Ours) == told(work, Typed)
