"""Views of memory, for kernels: see views.py. Where machine code came with the package, nothing here is called.

Numba takes a third of a second to import, and nobody asks it anything then.
"""

from __future__ import annotations

import os

from gputok.kernels.native import choose

CHECKED = os.environ.get("GPUTOK_CHECK", "0") not in ("", "0")

if choose().calls is None:
    from gputok.kernels.cpu.views import (
        View,
        as_array,
        bytes_at_least,
        copy,
        count_ones,
        equal_bytes,
        grown,
        is_given,
        least_of,
        leading_zeros,
        lend_views,
        load_u16,
        load_u32,
        load_u64,
        owned,
        prefetch,
        scratch,
        store_u32,
        store_u64,
        tail,
        trailing_zeros,
        view,
    )
else:
    View = as_array = bytes_at_least = copy = count_ones = equal_bytes = grown = is_given = leading_zeros = (
        lend_views
    ) = None
    least_of = load_u16 = load_u32 = load_u64 = owned = prefetch = scratch = store_u32 = store_u64 = tail = None
    trailing_zeros = view = None
