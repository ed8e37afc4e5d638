"""One short text to ids, in one call that takes a microsecond."""

from gputok.kernels.cpu.encode_one.encode import encode_text, trim
from gputok.kernels.cpu.encode_one.positions import encode_positions
from gputok.kernels.cpu.encode_one.seams import all_seams, last_seam
from gputok.kernels.cpu.encode_one.units import encode_units

__all__ = [
    "all_seams",
    "encode_positions",
    "encode_text",
    "encode_units",
    "last_seam",
    "trim",
]
