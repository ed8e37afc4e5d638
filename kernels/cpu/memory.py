"""Raw loads, stores, prefetches and atomics, for loops in which array objects cost too much.

A helper that takes arrays can put reference counting into the loop that calls it, and signed indices cost a
check each (measured: 203 instead of 950 MB/s for the walk of an automaton). So hot loops take addresses:
`address(array)` outside, `load_u8(base, index)` inside, `hold(array)` behind the loop. Nothing is checked.
"""

from __future__ import annotations

from gputok.kernels.native.compiler import intrinsic, ir, types


def _load(bits: int, result: types.Integer):
    @intrinsic
    def load(typingctx, base, index):
        """The `index`-th element (in elements, not bytes) after the address `base`."""

        def codegen(context, builder, signature, args):
            base, index = args
            pointer = builder.inttoptr(base, ir.IntType(bits).as_pointer())
            value = builder.load(builder.gep(pointer, [index]))
            value.align = 1
            return value

        return result(types.uint64, types.uint64), codegen

    return load


def _store(bits: int, element: types.Integer):
    @intrinsic
    def store(typingctx, base, index, value):
        """Stores `value` as the `index`-th element after the address `base`."""

        def codegen(context, builder, signature, args):
            base, index, value = args
            pointer = builder.inttoptr(base, ir.IntType(bits).as_pointer())
            instruction = builder.store(value, builder.gep(pointer, [index]))
            instruction.align = 1
            return context.get_dummy_value()

        return types.void(types.uint64, types.uint64, element), codegen

    return store


load_u8, store_u8 = _load(8, types.uint8), _store(8, types.uint8)
load_u16, store_u16 = _load(16, types.uint16), _store(16, types.uint16)
load_u32, store_u32 = _load(32, types.uint32), _store(32, types.uint32)
load_u64, store_u64 = _load(64, types.uint64), _store(64, types.uint64)
load_i64, store_i64 = _load(64, types.int64), _store(64, types.int64)


@intrinsic
def address(typingctx, array):
    """The address of an array's first element, as uint64."""

    def codegen(context, builder, signature, args):
        from numba.np.arrayobj import make_array

        view = make_array(signature.args[0])(context, builder, args[0])
        return builder.ptrtoint(view.data, ir.IntType(64))

    return types.uint64(array), codegen


@intrinsic
def hold(typingctx, arrays):
    """Keeps an array, or a tuple of arrays, until here: its address is no reference to it.

    Numba frees what a kernel has made after the last line that names it. So a kernel that made arrays, and works with
    their addresses, ends with `hold` of them (or returns them): tests/test_kernels_memory.py looks for each.
    """
    return types.void(arrays), lambda context, builder, signature, args: context.get_dummy_value()


@intrinsic
def prefetch(typingctx, where):
    """Asks for the cache line at the address `where`, for reading, to be kept in all levels."""

    def codegen(context, builder, signature, args):
        pointer_type = ir.IntType(8).as_pointer()
        i32 = ir.IntType(32)
        function = builder.module.declare_intrinsic(
            "llvm.prefetch", [pointer_type], ir.FunctionType(ir.VoidType(), [pointer_type, i32, i32, i32])
        )
        pointer = builder.inttoptr(args[0], pointer_type)
        builder.call(function, [pointer, ir.Constant(i32, 0), ir.Constant(i32, 3), ir.Constant(i32, 1)])
        return context.get_dummy_value()

    return types.void(types.uint64), codegen


def _count_bits(name: str, *more: ir.Constant):
    @intrinsic
    def count(typingctx, value):
        def codegen(context, builder, signature, args):
            i64 = ir.IntType(64)
            function_type = ir.FunctionType(i64, [i64, *(argument.type for argument in more)])
            function = builder.module.declare_intrinsic(name, [i64], function_type)
            return builder.call(function, [args[0], *more])

        return types.uint64(types.uint64), codegen

    return count


_OF_ZERO_TOO = ir.Constant(ir.IntType(1), 0)
leading_zeros = _count_bits("llvm.ctlz", _OF_ZERO_TOO)  # of a uint64; 64 for 0
trailing_zeros = _count_bits("llvm.cttz", _OF_ZERO_TOO)
count_ones = _count_bits("llvm.ctpop")


@intrinsic
def copy_bytes(typingctx, target, source, count):
    """Copies `count` bytes between two addresses that don't overlap."""

    def codegen(context, builder, signature, args):
        from numba.core import cgutils

        pointer_type = ir.IntType(8).as_pointer()
        target, source = (builder.inttoptr(where, pointer_type) for where in args[:2])
        cgutils.raw_memcpy(builder, target, source, args[2], 1, align=1)
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, types.uint64), codegen


@intrinsic
def equal_bytes(typingctx, where, byte):
    """Which of the 64 bytes at an address are `byte`: bit i for byte i (one or two vector instructions)."""

    def codegen(context, builder, signature, args):
        vector = ir.VectorType(ir.IntType(8), 64)
        loaded = builder.load(builder.inttoptr(args[0], vector.as_pointer()))
        loaded.align = 1
        lane = builder.insert_element(
            ir.Constant(vector, ir.Undefined), args[1], ir.Constant(ir.IntType(32), 0)
        )
        first = ir.Constant(ir.VectorType(ir.IntType(32), 64), [0] * 64)
        same = builder.icmp_unsigned("==", loaded, builder.shuffle_vector(lane, lane, first))
        return builder.bitcast(same, ir.IntType(64))

    return types.uint64(types.uint64, types.uint8), codegen
