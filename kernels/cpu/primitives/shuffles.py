"""Look-ups of 64 bytes at a time in tables of 16 bytes, and the positions of bits, for `kernels.cpu.walk.by_windows`.

An x86-64 processor with SSSE3 (each level of the wheel has that) shuffles 16 bytes by one instruction, and 32 or 64
with AVX2 or AVX-512: LLVM joins the shuffles that lie side by side. Elsewhere, bytes are looked up one after another.
"""

from __future__ import annotations

import functools
import platform

import llvmlite.binding as llvm
from gputok.kernels.cpu.primitives.vectors import spread
from gputok.kernels.cpu.primitives.views import I32, I64, call_llvm, check_bounds, load, must_be, place, struct_of
from llvmlite import ir
from numba.core import cgutils, config, types
from numba.extending import intrinsic

_I8 = ir.IntType(8)
_16, _64 = ir.VectorType(_I8, 16), ir.VectorType(_I8, 64)
_QUARTERS = [ir.Constant(ir.VectorType(I32, 16), list(range(i, i + 16))) for i in range(0, 64, 16)]
_ROWS, _WIDTH = 8, 6  # rows of a table of classes (`put_classes`); bytes of the widest window (`window_masks`)
_END, _CLASS_OF_END = 0xFF, 15  # END_OF_TEXT, and its class (`walk.windows.END_CLASS`)


def _splat(value: int) -> ir.Constant:
    return ir.Constant(_64, [value] * 64)


def _loader(context, builder, signature, args):
    """Returns a function loaded(k, index, vector): the vector of bytes from `index` on of the view args[k]."""

    def loaded(k, index, vector=_64):
        count = 1 if vector is _I8 else vector.count
        return load(builder, place(context, builder, signature.args[k], args[k], index, vector, count))

    return loaded


def _joined(builder, parts):
    """Vectors side by side as one vector."""
    while len(parts) > 1:
        n = 2 * parts[0].type.count
        order = ir.Constant(ir.VectorType(I32, n), list(range(n)))
        parts = [builder.shuffle_vector(*parts[i : i + 2], order) for i in range(0, len(parts), 2)]
    return parts[0]


def _has_shuffle() -> bool:
    """Whether the processor that Numba compiles for has SSSE3; without it, LLVM would end the process."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return False
    if config.CPU_FEATURES is None:
        return bool(llvm.get_host_cpu_features().get("ssse3"))
    return "+ssse3" in config.CPU_FEATURES or config.CPU_NAME not in ("generic", "x86-64")


def _shuffled_16(builder, table, indices):
    """table[index & 15] for 16 indices below 128, 0 for others."""
    if _has_shuffle():
        return call_llvm(builder, "llvm.x86.ssse3.pshuf.b.128", _16, table, indices)
    found = ir.Constant(_16, [0] * 16)
    for i in range(16):
        index = builder.extract_element(indices, ir.Constant(I32, i))
        value = builder.extract_element(table, builder.and_(index, ir.Constant(_I8, 15)))
        value = builder.select(builder.icmp_signed("<", index, ir.Constant(_I8, 0)), ir.Constant(_I8, 0), value)
        found = builder.insert_element(found, value, ir.Constant(I32, i))
    return found


def _shuffled(builder, table, indices):
    """`_shuffled_16` for 64 indices. LLVM makes wide shuffles of a vector that is split and joined, not of loads."""
    parts = (builder.shuffle_vector(indices, indices, quarter) for quarter in _QUARTERS)
    return _joined(builder, [_shuffled_16(builder, table, part) for part in parts])


@intrinsic
def put_classes(typingctx, text, index, classes, at, tables):
    """Writes the class of each of the 64 bytes of `text` from `index` on to classes[at:], from a table uint8[8, 16].

    The table has the classes of ASCII. 0xFF (end of text) gets class 15, and each other byte that isn't ASCII class
    0x80; returns a number whose bit i is set if byte i got class 0x80. All views are of uint8.
    """
    for view in (text, classes, tables):
        must_be(view)

    def codegen(context, builder, signature, args):
        of = _loader(context, builder, signature, args)
        loaded = of(0, args[1])
        is_end = builder.icmp_unsigned("==", loaded, _splat(_END))
        several = builder.and_(builder.icmp_signed("<", loaded, _splat(0)), builder.not_(is_end))
        found = builder.select(is_end, _splat(_CLASS_OF_END), builder.and_(loaded, _splat(0x80)))
        for row in range(_ROWS):
            # the bytes of this row become 0x70 to 0x7F; all others have the upper bit, for which a shuffle gives 0
            of_row = builder.xor(loaded, _splat(row << 4))
            indices = call_llvm(builder, "llvm.uadd.sat.v64i8", _64, of_row, _splat(0x70))
            found = builder.or_(found, _shuffled(builder, of(4, I64(16 * row), _16), indices))
        builder.store(found, place(context, builder, classes, args[2], args[3], _64, 64)).align = 1
        return builder.bitcast(several, I64)

    return types.uint64(text, types.uint64, classes, types.uint64, tables), codegen


@intrinsic
def leads_in(typingctx, text, index, rows):
    """A number whose bit i is set if byte i of the 64 bytes of `text` from `index` on is in a set of first bytes.

    rows: uint8[16], the set: bit i of rows[k] is for the byte (12 + i) << 4 | k, so that only first bytes of characters
    that aren't ASCII can be in it. All views are of uint8.
    """
    must_be(text)
    must_be(rows)

    def codegen(context, builder, signature, args):
        of = _loader(context, builder, signature, args)
        loaded = of(0, args[1])
        columns = ir.Constant(_16, [0] * 12 + [1, 2, 4, 8])
        of_row = _shuffled(builder, of(2, I64(0), _16), builder.and_(loaded, _splat(15)))
        of_column = _shuffled(builder, columns, builder.lshr(loaded, _splat(4)))
        return builder.bitcast(builder.icmp_unsigned("!=", builder.and_(of_row, of_column), _splat(0)), I64)

    return types.uint64(text, types.uint64, rows), codegen


def _window_masks(n_bytes, n_sets):
    """Makes `masks_of` for windows of n_bytes (5 or 6) and n_sets (2 or 3) sets of eight terms, see walk/windows.py."""

    @intrinsic
    def masks_of(typingctx, classes, index, tables, at):
        """Two numbers with a bit for each of 64 windows, of which the first begins at classes[index].

        tables[at:]: uint8[3, 6, 16], then two bytes. Each byte of a window is looked up in the table of its index; the
        `and` of what was found has a bit for each of 16 terms that the window belongs to. Bit i of the first number:
        window i belongs to one of the first eight terms, or to one of the second eight that is in the first of the two
        bytes. Bit i of the second: it belongs to one of the second eight that is in the second byte, to one of the
        third eight, or contains a class of 0x80 or more.
        """
        must_be(classes)
        must_be(tables)

        def codegen(context, builder, signature, args):
            of = _loader(context, builder, signature, args)

            def table_at(offset, vector=_16):
                return of(2, builder.add(args[3], I64(offset)), vector)

            bytes_ = [of(0, builder.add(args[1], I64(i))) for i in range(n_bytes)]
            seen = functools.reduce(builder.or_, bytes_)
            terms = []
            for eight in range(n_sets):
                found = [
                    _shuffled(builder, table_at(16 * (_WIDTH * eight + i)), indices) for i, indices in enumerate(bytes_)
                ]
                terms.append(functools.reduce(builder.and_, found))
            of_begin, of_unknown = (spread(builder, table_at(3 * 16 * _WIDTH + i, _I8), 64) for i in range(2))
            begins = builder.or_(terms[0], builder.and_(terms[1], of_begin))
            of_unknown = functools.reduce(builder.or_, [builder.and_(terms[1], of_unknown), *terms[2:]])
            unknown = builder.icmp_signed("!=", of_unknown, _splat(0))
            unknown = builder.or_(unknown, builder.icmp_signed("<", seen, _splat(0)))
            begins = builder.icmp_signed("!=", begins, _splat(0))
            masks = [builder.bitcast(truths, I64) for truths in (begins, unknown)]
            return context.make_tuple(builder, signature.return_type, masks)

        return types.UniTuple(types.uint64, 2)(classes, types.uint64, tables, types.uint64), codegen

    return masks_of


window_masks, wide_window_masks = _window_masks(_WIDTH - 1, 2), _window_masks(_WIDTH, 2)
window_masks_of_24 = _window_masks(_WIDTH - 1, 3)


# The positions of the bits of each byte
_POSITIONS = [[i for i in range(8) if byte >> i & 1] for byte in range(256)]
_MOST_MORE = 8  # elements that are written after the last one


@intrinsic
def put_positions(typingctx, bits, first, indices, at):
    """Writes `first` + the index of each bit that is 1 in a number, ascending, to indices[at:]; returns where they end.

    indices: a view of uint32; up to 8 elements after that end are overwritten, too. For each of the eight bytes of the
    number, a table has eight indices, and all are written; those of the next byte overwrite those too many. So no
    branch depends on the bits (see Lemire 2018, "Iterating over set bits quickly (SIMD edition)").
    """
    must_be(indices, types.uint32)

    def codegen(context, builder, signature, args):
        bits, first, at = args[0], builder.trunc(args[1], I32), args[3]
        indices = struct_of(context, builder, signature.args[2], args[2])
        row, eight = ir.ArrayType(_I8, 8), ir.VectorType(I32, 8)
        rows = [ir.Constant(row, [*map(_I8, those + [0] * (8 - len(those)))]) for those in _POSITIONS]
        table = cgutils.global_constant(builder, "places_of_bits", ir.Constant(ir.ArrayType(row, 256), rows))
        n_bits = call_llvm(builder, "llvm.ctpop.i64", I64, bits)
        check_bounds(context, builder, indices, at, builder.add(n_bits, I64(_MOST_MORE)))
        base = spread(builder, first, 8)
        for _ in range(8):
            byte = builder.and_(bits, I64(255))
            found = builder.bitcast(builder.gep(table, [I64(0), byte]), ir.VectorType(_I8, 8).as_pointer())
            where = place(context, builder, signature.args[2], args[2], at, eight, 0)
            builder.store(builder.add(builder.zext(load(builder, found), eight), base), where).align = 1
            at = builder.add(at, call_llvm(builder, "llvm.ctpop.i64", I64, byte))
            bits = builder.lshr(bits, I64(8))
            base = builder.add(base, ir.Constant(eight, [8] * 8))
        return at

    return types.uint64(types.uint64, types.uint64, indices, types.uint64), codegen
