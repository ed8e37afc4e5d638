"""Tables as kernels use them: a NamedTuple of arrays is declared once, and a kernel has the same NamedTuple of views.

    as_views(table)          the same NamedTuple with views, of a NamedTuple of arrays and numbers that was an argument
    record_at(where, T)      a *record*: the fields of the NamedTuple class T, as a `Handle` (handle.py) wrote them at
                             this address, or at the first element of this view of uint64
    record.field             loads the field from memory: a sized view, a number, or the record of a NamedTuple
    as_views(record)         loads all fields, as a T
    record_at(where, T, v)   likewise; a field with a choice of types has elements of the same type as the view v
    pointer_to_all(view)     the memory of a sized view, as `arrays.pointer` gives it, to call a stage with it

LLVM can't keep a field in a register over a store: load the fields that a loop needs before the loop.
"""

from __future__ import annotations

from typing import Any

from gputok.kernels.cpu.primitives.handle import WORDS, layout
from gputok.kernels.cpu.primitives.views import CHECKED, I64, View, check_bounds, make_view, struct_of
from gputok.kernels.signatures import Elements, Number, TupleType, Type, chosen, numba_type, type_of
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.errors import TypingError
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, intrinsic, lower_getattr_generic, models, register_model
from numba.np.arrayobj import make_array
from numba.np.numpy_support import as_dtype


class Record(types.Type):
    """Numba's type of records. The value of a record is the address of the numbers that a `Handle` wrote."""

    def __init__(self, group: TupleType, choice: str = "") -> None:
        made_by: Any = group.made_by
        leaves, first = layout(made_by)
        self.group, self.n_words = group, WORDS * len(leaves)
        self.fields = {name: (first[name], kind) for name, kind in zip(made_by._fields, group.items, strict=True)}
        super().__init__(f"Record({made_by.__module__}.{made_by.__qualname__}{choice})")


@register_model(Record)
class _RecordModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, I64)


def _field_type(kind: Type) -> types.Type:
    if isinstance(kind, TupleType):
        return Record(kind)
    if isinstance(kind, Elements):
        return View(numba_type(Number(kind.code)), dimensions=kind.ndim)
    return numba_type(kind)


@infer_getattr
class _Fields(AttributeTemplate):
    key = Record

    def generic_resolve(self, record, name):
        return _field_type(record.fields[name][1]) if name in record.fields else None


@lower_getattr_generic(Record)
def _field(context, builder, record, value, name):
    at, kind = record.fields[name]
    return _read(context, builder, value, at, kind)


def _read(context, builder, address, at, kind):
    """The value of a field of a record; `at`: its index among the fields."""

    def word(k):
        where = builder.add(address, I64(8 * (WORDS * at + k)))
        return builder.load(builder.inttoptr(where, I64.as_pointer()))

    if isinstance(kind, TupleType):
        return builder.add(address, I64(8 * WORDS * at))
    made = _field_type(kind)
    if isinstance(made, View):
        return make_view(context, builder, made, word(0), word(1), columns=word(2))
    if isinstance(made, types.Boolean):
        return builder.icmp_unsigned("!=", word(0), I64(0))
    return builder.bitcast(word(0), context.get_value_type(made))  # int64 or float64


@intrinsic
def record_at(typingctx, where, of, like=None):
    """The record of the NamedTuple class `of` at an address, or where a view begins; see the top of this file."""
    if not isinstance(of, types.NamedTupleClass):
        raise TypingError(f"expected a NamedTuple class, got {of}")
    kind, code = type_of(of.instance_class), ""
    if isinstance(like, View):
        code = as_dtype(like.dtype).str[1:]
        kind = chosen(kind, code)
    made = Record(kind, code)

    def codegen(context, builder, signature, args):
        if not isinstance(where, View):
            return args[0]
        numbers = struct_of(context, builder, where, args[0])
        check_bounds(context, builder, numbers, I64(0), I64(made.n_words))
        return numbers.base

    given = where if isinstance(where, View) else types.uint64
    return made(given, of, types.none if like is None else like), codegen


def _viewed(kind):
    """Numba's type of what `as_views` makes of a value of this type."""
    if isinstance(kind, types.Array):
        element = types.uint8 if kind.dtype == types.boolean else kind.dtype
        return View(element, dimensions=kind.ndim)
    if isinstance(kind, types.BaseTuple):
        return types.BaseTuple.from_types(tuple(map(_viewed, kind)), getattr(kind, "instance_class", None))
    if isinstance(kind, Record):
        items = (_viewed(_field_type(item)) for item in kind.group.items)
        return types.BaseTuple.from_types(tuple(items), kind.group.made_by)
    return kind


def _view_all(context, builder, kind, value):
    if isinstance(kind, types.Array):
        of = make_array(kind)(context, builder, value)
        shape = cgutils.unpack_tuple(builder, of.shape, kind.ndim)
        base = builder.ptrtoint(of.data, I64)
        return make_view(context, builder, _viewed(kind), base, of.nitems, columns=shape[-1])
    if isinstance(kind, types.BaseTuple):
        parts = zip(kind, cgutils.unpack_tuple(builder, value, len(kind)), strict=True)
        made = [_view_all(context, builder, *part) for part in parts]
        return context.make_tuple(builder, _viewed(kind), made)
    if isinstance(kind, Record):
        made = []
        for at, item in kind.fields.values():
            read = _read(context, builder, value, at, item)
            made.append(_view_all(context, builder, _field_type(item), read))
        return context.make_tuple(builder, _viewed(kind), made)
    return value


@intrinsic
def as_views(typingctx, table):
    """The same NamedTuple, with views instead of arrays; of a record, its NamedTuple. See the top of this file."""

    def codegen(context, builder, signature, args):
        return _view_all(context, builder, table, args[0])

    return _viewed(table)(table), codegen


@intrinsic
def address_of(typingctx, some):
    """The address of a view or of a record, int64."""

    def codegen(context, builder, signature, args):
        return args[0] if isinstance(some, Record) else struct_of(context, builder, some, args[0]).base

    return types.int64(some), codegen


@intrinsic
def no_pointer(typingctx):
    """The result of `arrays.pointer(None)`."""
    made = types.UniTuple(types.int64, 2) if CHECKED else types.int64

    def codegen(context, builder, signature, args):
        return context.get_constant_null(made)

    return made(), codegen


@intrinsic
def pointer_to_all(typingctx, view):
    """The address of a view, in the checked build also its bytes: what `arrays.pointer` gives for an array."""

    def codegen(context, builder, signature, args):
        of = struct_of(context, builder, view, args[0])
        if not CHECKED:
            return of.base
        n_bytes = builder.mul(of.length, ir.Constant(I64, view.size))
        return context.make_tuple(builder, signature.return_type, [of.base, n_bytes])

    made = types.UniTuple(types.int64, 2) if CHECKED else types.int64
    return made(view), codegen
