"""Many elements of a view at once, and instructions on numbers that Numba has no name for.

Vectors need not be aligned to their own size. In the checked build, each access out of bounds raises IndexError.
"""

from __future__ import annotations

from gputok.kernels.cpu.primitives.views import I32, I64, call_llvm, load, must_be, place
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

_BYTES, _TWO = ir.VectorType(ir.IntType(8), 64), ir.VectorType(I64, 2)


@intrinsic
def copy_64(typingctx, target, to, source, first):
    """Copies 64 bytes from source[first] on to target[to:]; both are views of bytes."""
    must_be(target)
    must_be(source)

    def codegen(context, builder, signature, args):
        to, first = (place(context, builder, signature.args[i], *args[i : i + 2], _BYTES, 64) for i in (0, 2))
        builder.store(load(builder, first), to).align = 1
        return context.get_dummy_value()

    u64 = types.uint64
    return types.void(target, u64, source, u64), codegen


@intrinsic
def put_key(typingctx, keys, i, text, begin, masks, row):
    """keys[i:i + 2] = text[begin:begin + 16] (bytes) & masks[row:row + 2] | masks[row + 2:row + 4], as two uint64."""
    must_be(text)

    def codegen(context, builder, signature, args):
        to, word, mask, top = (
            place(context, builder, signature.args[k], args[k], index, _TWO, count)
            for k, index, count in (
                (0, args[1], 2),
                (2, args[3], 16),
                (4, args[5], 2),
                (4, builder.add(args[5], I64(2)), 2),
            )
        )
        of_word = builder.and_(load(builder, word), load(builder, mask))
        builder.store(builder.or_(of_word, load(builder, top)), to).align = 1
        return context.get_dummy_value()

    u64 = types.uint64
    return types.void(keys, u64, text, u64, masks, u64), codegen


@intrinsic
def folded_product(typingctx, a, b):
    """A hash of two numbers of 64 bits: the lower 64 bits of their product xor its upper 64 bits."""

    def codegen(context, builder, signature, args):
        wide = ir.IntType(128)
        product = builder.mul(*(builder.zext(each, wide) for each in args))
        upper = builder.lshr(product, ir.Constant(wide, 64))
        return builder.trunc(builder.xor(product, upper), I64)

    u64 = types.uint64
    return u64(u64, u64), codegen


def spread(builder, value, n):
    """A vector of n times the same number."""
    lane = ir.Constant(ir.VectorType(value.type, n), ir.Undefined)
    lane = builder.insert_element(lane, value, ir.Constant(I32, 0))
    return builder.shuffle_vector(lane, lane, ir.Constant(ir.VectorType(I32, n), [0] * n))


def _compare_bytes(predicate: str):
    @intrinsic
    def compare(typingctx, view, index, byte):
        """Compares the 64 bytes from `index` on with `byte`: bit i is the result for byte i (1 or 2 instructions)."""
        must_be(view)

        def codegen(context, builder, signature, args):
            loaded = load(builder, place(context, builder, view, *args[:2], _BYTES, 64))
            same = builder.icmp_unsigned(predicate, loaded, spread(builder, args[2], 64))
            return builder.bitcast(same, I64)

        return types.uint64(view, types.uint64, types.uint8), codegen

    return compare


equal_bytes, bytes_at_least = _compare_bytes("=="), _compare_bytes(">=")


@intrinsic
def likely(typingctx, condition):
    """A condition that is mostly true: LLVM then keeps what only the other branch needs out of the registers."""

    def codegen(context, builder, signature, args):
        boolean = ir.IntType(1)
        return call_llvm(builder, "llvm.expect.i1", boolean, args[0], boolean(1))

    return types.boolean(types.boolean), codegen


@intrinsic
def least_of(typingctx, view, index):
    """The least of the 16 elements from `index` on of a view of uint32: a few instructions, and no branch."""
    must_be(view, types.uint32)

    def codegen(context, builder, signature, args):
        loaded = load(builder, place(context, builder, view, *args, ir.VectorType(I32, 16), 16))
        return call_llvm(builder, "llvm.vector.reduce.umin.v16i32", I32, loaded)

    return types.uint32(view, types.uint64), codegen


_FOUR = ir.VectorType(I64, 4)
_ALL_ONES = ir.Constant(_FOUR, [(1 << 64) - 1] * 4)


def _load_four(context, builder, signature, args):
    """The 4 elements from args[1] on of the view args[0], in one register."""
    loaded = builder.load(place(context, builder, signature.args[0], *args[:2], _FOUR, 4))
    loaded.align = 8
    return loaded


@intrinsic
def of_four(typingctx, view, index, shift, key):
    """Of the 4 elements from `index` on of a view of uint64, the one whose bits above the lower `shift` are `key`.

    If there is none, all bits of the result are set. If there are several, the result is the `and` of them.
    """
    must_be(view, types.uint64)

    def codegen(context, builder, signature, args):
        loaded = _load_four(context, builder, signature, args)
        upper = builder.lshr(loaded, spread(builder, args[2], 4))
        same = builder.icmp_unsigned("==", upper, spread(builder, args[3], 4))
        return call_llvm(builder, "llvm.vector.reduce.and.v4i64", I64, builder.select(same, loaded, _ALL_ONES))

    return types.uint64(view, types.uint64, types.uint64, types.uint64), codegen


@intrinsic
def has_ones(typingctx, view, index):
    """Whether one of the 4 elements from `index` on of a view of uint64 has all bits set."""
    must_be(view, types.uint64)

    def codegen(context, builder, signature, args):
        loaded = _load_four(context, builder, signature, args)
        full = builder.icmp_unsigned("==", loaded, _ALL_ONES)
        return builder.icmp_unsigned("!=", builder.bitcast(full, ir.IntType(4)), ir.IntType(4)(0))

    return types.boolean(view, types.uint64), codegen


def _count_bits(name: str, *more: ir.Constant):
    @intrinsic
    def count(typingctx, value):
        def codegen(context, builder, signature, args):
            return call_llvm(builder, name, I64, args[0], *more)

        return types.uint64(types.uint64), codegen

    return count


_OF_ZERO_TOO = ir.Constant(ir.IntType(1), 0)
leading_zeros = _count_bits("llvm.ctlz.i64", _OF_ZERO_TOO)  # of a uint64; 64 for 0
trailing_zeros = _count_bits("llvm.cttz.i64", _OF_ZERO_TOO)
count_ones = _count_bits("llvm.ctpop.i64")
