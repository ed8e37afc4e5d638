"""The names of the modules beside this one, as far as they need Numba, for the modules of kernels, which Python also imports without Numba.

If the package contains machine code, no code calls these functions, and the names are None. Then Numba need not be installed, nor
imported, which would take a third of a second.
"""

from __future__ import annotations

from gputok.kernels.native import choose

if choose().calls is None:
    try:
        from gputok.kernels.cpu.primitives.atomics import (
            atomic_add,
            atomic_claim,
            atomic_load,
            atomic_or,
            atomic_release,
            atomic_store,
            pause,
            ticks,
        )
        from gputok.kernels.cpu.primitives.calls import call, known_address, places
        from gputok.kernels.cpu.primitives.shuffles import (
            leads_in,
            put_classes,
            put_positions,
            wide_window_masks,
            window_masks,
            window_masks_of_24,
        )
        from gputok.kernels.cpu.primitives.tables import address_of, as_views, no_pointer, pointer_to_all, record_at
        from gputok.kernels.cpu.primitives.vectors import (
            bytes_at_least,
            copy_64,
            count_ones,
            equal_bytes,
            folded_product,
            four_differ,
            has_ones,
            leading_zeros,
            least_of,
            likely,
            of_four,
            put_key,
            trailing_zeros,
        )
        from gputok.kernels.cpu.primitives.views import (
            View,
            as_array,
            copy,
            grown,
            is_given,
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
            view,
        )
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("numba", "llvmlite"):
            raise
        raise ImportError(
            f"the kernels must be {choose().reason}. But Numba is not installed (the extra jit: pip install 'gputok[jit]')"
        ) from None
else:
    View = as_array = bytes_at_least = copy = copy_64 = count_ones = equal_bytes = grown = has_ones = None
    address_of = as_views = call = known_address = no_pointer = places = pointer_to_all = record_at = None
    is_given = of_four = folded_product = four_differ = put_key = None
    atomic_add = atomic_claim = atomic_load = atomic_or = atomic_release = atomic_store = pause = ticks = None
    leading_zeros = leads_in = least_of = lend_views = likely = load_u16 = load_u32 = load_u64 = owned = None
    prefetch = put_classes = put_positions = scratch = store_u32 = store_u64 = tail = trailing_zeros = view = None
    wide_window_masks = window_masks = window_masks_of_24 = None
