; The builtin functions that kernels/native/objects.py describes. A name with a dot stands for a number: of a field of the memory
; that objects.py declares, `Python`, `Classes`, `Integers`, `Call`, `Maker`, or of an item of the tuples `Later` and `Texts`; `.n` is
; the number of all. A field with another one for texts with special tokens is right before that.
; A new list and a new tuple are filled in their memory. The garbage collector, which any Python code can ask for all objects, must
; not know a list while it has empty items and other objects are made that the collector counts: `hidden`, then `shown`.

@gputok_python = global [Python.n x ptr] zeroinitializer
@gputok_classes = global [Classes.n x ptr] zeroinitializer
@gputok_integers = global [Integers.n x i64] zeroinitializer

@call_name = private constant [12 x i8] c"gputok call\00"
@maker_name = private constant [13 x i8] c"gputok maker\00"

declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.prefetch.p0(ptr, i32, i32, i32)

define internal ptr @python(i64 %number) {
  %where = getelementptr ptr, ptr @gputok_python, i64 %number
  %function = load ptr, ptr %where
  ret ptr %function
}

define internal ptr @given(ptr %arguments, i64 %number) {
  %where = getelementptr ptr, ptr %arguments, i64 %number
  %object = load ptr, ptr %where
  ret ptr %object
}

; A number, of which any value does no harm: it becomes no address. The error of an object that is no number stays set
define internal i64 @argument(ptr %arguments, i64 %number) {
  %object = call ptr @given(ptr %arguments, i64 %number)
  %convert = call ptr @python(i64 Python.PyLong_AsLongLong)
  %value = call i64 %convert(ptr %object)
  ret i64 %value
}

; The address inside of a capsule that has this name; null, and an error is set, for any other object
define internal ptr @inside(ptr %object, ptr %name) {
  %get = call ptr @python(i64 Python.PyCapsule_GetPointer)
  %address = call ptr %get(ptr %object, ptr %name)
  ret ptr %address
}

; The `Maker` whose address an object is; null for 0, and for any other object
define internal ptr @maker_at(ptr %object) {
  %zero = call ptr @of_classes(i64 Classes.zero)
  %is_some = icmp ne ptr %object, %zero
  br i1 %is_some, label %open, label %none
open:
  %maker = call ptr @inside(ptr %object, ptr @maker_name)
  %has_maker = icmp ne ptr %maker, null
  br i1 %has_maker, label %found, label %wrong
found:
  ret ptr %maker
wrong:
  %forget = call ptr @python(i64 Python.PyErr_Clear)
  call void %forget()
  br label %none
none:
  ret ptr null
}

; The object of a number that the table of shared objects has not yet: it goes there, too
define internal ptr @first_number(ptr %slot, i64 %value) noinline {
  %make = call ptr @python(i64 Python.PyLong_FromLongLong)
  %share = call ptr @python(i64 Python.Py_IncRef)
  %release = call ptr @python(i64 Python.Py_DecRef)
  %fresh = call ptr %make(i64 %value)
  %got = icmp ne ptr %fresh, null
  br i1 %got, label %keep, label %done
keep:
  call void %share(ptr %fresh)
  %exchanged = cmpxchg ptr %slot, ptr null, ptr %fresh acq_rel monotonic, align 8
  %is_kept = extractvalue { ptr, i1 } %exchanged, 1
  br i1 %is_kept, label %done, label %late
late:
  call void %release(ptr %fresh)
  br label %done
done:
  ret ptr %fresh
}

; The object of a number, shared if the table has room for it
define internal ptr @number(i64 %value) {
  %known_at = getelementptr i64, ptr @gputok_integers, i64 Integers.n_shared
  %known = load atomic i64, ptr %known_at acquire, align 8
  %in_table = icmp ult i64 %value, %known
  br i1 %in_table, label %shared, label %new
shared:
  %table_at = getelementptr i64, ptr @gputok_integers, i64 Integers.shared
  %table = load ptr, ptr %table_at
  %slot = getelementptr ptr, ptr %table, i64 %value
  %found = load atomic ptr, ptr %slot acquire, align 8
  %is_kept = icmp ne ptr %found, null
  br i1 %is_kept, label %again, label %first
again:
  %share = call ptr @python(i64 Python.Py_IncRef)
  call void %share(ptr %found)
  ret ptr %found
first:
  %one = call ptr @first_number(ptr %slot, i64 %value)
  ret ptr %one
new:
  %make = call ptr @python(i64 Python.PyLong_FromLongLong)
  %fresh = call ptr %make(i64 %value)
  ret ptr %fresh
}

; A new list of n empty items that the garbage collector does not know; or null
define internal ptr @hidden(i64 %n) {
  %make = call ptr @python(i64 Python.PyList_New)
  %list = call ptr %make(i64 %n)
  %made = icmp ne ptr %list, null
  br i1 %made, label %hide, label %done
hide:
  %untrack = call ptr @python(i64 Python.PyObject_GC_UnTrack)
  call void %untrack(ptr %list)
  br label %done
done:
  ret ptr %list
}

; That list, when it has all items
define internal ptr @shown(ptr %list) {
  %track = call ptr @python(i64 Python.PyObject_GC_Track)
  call void %track(ptr %list)
  ret ptr %list
}

; Where the items of a list are
define internal ptr @items_of_list(ptr %list) {
  %field_at = getelementptr i64, ptr @gputok_integers, i64 Integers.items_of_list
  %field = load i64, ptr %field_at
  %items_at = getelementptr i8, ptr %list, i64 %field
  %items = load ptr, ptr %items_at
  ret ptr %items
}

; Where the items of a tuple are
define internal ptr @items_of_tuple(ptr %tuple) {
  %field_at = getelementptr i64, ptr @gputok_integers, i64 Integers.items_of_tuple
  %field = load i64, ptr %field_at
  %items = getelementptr i8, ptr %tuple, i64 %field
  ret ptr %items
}

; An item of a tuple that has so many, borrowed
define internal ptr @item_of(ptr %tuple, i64 %number) {
  %items = call ptr @items_of_tuple(ptr %tuple)
  %where = getelementptr ptr, ptr %items, i64 %number
  %item = load ptr, ptr %where
  ret ptr %item
}

; The list of the ids in a bytes object, which the caller keeps alive
define internal ptr @new_list(ptr %raw) {
  %ids_at = alloca ptr
  %size_at = alloca i64
  %open = call ptr @python(i64 Python.PyBytes_AsStringAndSize)
  %refused = call i32 %open(ptr %raw, ptr %ids_at, ptr %size_at)
  %is_bytes = icmp eq i32 %refused, 0
  br i1 %is_bytes, label %begin, label %none
begin:
  %ids = load ptr, ptr %ids_at
  %size = load i64, ptr %size_at
  %n = lshr i64 %size, 2
  %known_at = getelementptr i64, ptr @gputok_integers, i64 Integers.n_shared
  %known = load atomic i64, ptr %known_at acquire, align 8
  %table_at = getelementptr i64, ptr @gputok_integers, i64 Integers.shared
  %table = load ptr, ptr %table_at
  %make = call ptr @python(i64 Python.PyList_New)
  %share = call ptr @python(i64 Python.Py_IncRef)
  %number = call ptr @python(i64 Python.PyLong_FromLongLong)
  %list = call ptr %make(i64 %n)
  %made = icmp ne ptr %list, null
  br i1 %made, label %fill, label %none
fill:
  %items = call ptr @items_of_list(ptr %list)
  br label %test
test:
  %i = phi i64 [ 0, %fill ], [ %next, %store ]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %read, label %done
read:
  %later = add i64 %i, 16
  %has_later = icmp slt i64 %later, %n
  %soon = select i1 %has_later, i64 %later, i64 %i
  %soon_at = getelementptr i32, ptr %ids, i64 %soon
  %soon_narrow = load i32, ptr %soon_at, align 1
  %soon_id = zext i32 %soon_narrow to i64
  %soon_in_table = icmp ult i64 %soon_id, %known
  br i1 %soon_in_table, label %ask, label %now
ask:
  %soon_slot = getelementptr ptr, ptr %table, i64 %soon_id
  %soon_object = load ptr, ptr %soon_slot
  call void @llvm.prefetch.p0(ptr %soon_object, i32 1, i32 3, i32 1)
  br label %now
now:
  %at = getelementptr i32, ptr %ids, i64 %i
  %narrow = load i32, ptr %at, align 1
  %id = zext i32 %narrow to i64
  %in_table = icmp ult i64 %id, %known
  br i1 %in_table, label %shared, label %new
shared:
  %slot = getelementptr ptr, ptr %table, i64 %id
  %found = load atomic ptr, ptr %slot acquire, align 8
  %is_kept = icmp ne ptr %found, null
  br i1 %is_kept, label %again, label %first
again:
  call void %share(ptr %found)
  br label %store
first:
  %one = call ptr @first_number(ptr %slot, i64 %id)
  %has_one = icmp ne ptr %one, null
  br i1 %has_one, label %store, label %drop
new:
  %fresh = call ptr %number(i64 %id)
  %got = icmp ne ptr %fresh, null
  br i1 %got, label %store, label %drop
store:
  %object = phi ptr [ %found, %again ], [ %one, %first ], [ %fresh, %new ]
  %item = getelementptr ptr, ptr %items, i64 %i
  store ptr %object, ptr %item
  %next = add i64 %i, 1
  br label %test
done:
  ret ptr %list
drop:
  %release = call ptr @python(i64 Python.Py_DecRef)
  call void %release(ptr %list)
  ret ptr null
none:
  ret ptr null
}

define ptr @gputok_list_ids(ptr %self, ptr %raw) {
  %list = call ptr @new_list(ptr %raw)
  ret ptr %list
}

; The number of characters of the texts in a list; -1: not all are str
define ptr @gputok_measure(ptr %self, ptr %texts) {
  %get = call ptr @python(i64 Python.PyList_GetItem)
  %measure = call ptr @python(i64 Python.PyUnicode_GetLength)
  %size = call ptr @python(i64 Python.PyList_Size)
  %count = call i64 %size(ptr %texts)
  br label %test
test:
  %i = phi i64 [ 0, %0 ], [ %next, %add ]
  %sum = phi i64 [ 0, %0 ], [ %longer, %add ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %look, label %done
look:
  %text = call ptr %get(ptr %texts, i64 %i)
  %is_there = icmp ne ptr %text, null
  br i1 %is_there, label %ask, label %gone
ask:
  %is_text = call i1 @is_str(ptr %text)
  br i1 %is_text, label %add, label %done
add:
  %n = call i64 %measure(ptr %text)
  %longer = add i64 %sum, %n
  %next = add i64 %i, 1
  br label %test
done:
  %result = phi i64 [ %sum, %test ], [ -1, %ask ]
  %number = call ptr @python(i64 Python.PyLong_FromLongLong)
  %object = call ptr %number(i64 %result)
  ret ptr %object
gone:
  ret ptr null
}

; Encodes a text by a kernel, which needs no lock of Python's: the number of ids, or a negative number
define internal i64 @run(ptr %call, ptr %bytes, i64 %size, i64 %flags) {
  %slots = alloca [4 x i64]
  %special = and i64 %flags, 1
  %longest_field = add i64 %special, Call.longest
  %longest_at = getelementptr i64, ptr %call, i64 %longest_field
  %longest = load i64, ptr %longest_at
  %fits = icmp sle i64 %size, %longest
  br i1 %fits, label %fill, label %refused
fill:
  %handle_at = getelementptr i64, ptr %call, i64 Call.handle
  %handle = load i64, ptr %handle_at
  store i64 %handle, ptr %slots
  %slot_1 = getelementptr i64, ptr %slots, i64 1
  %text_address = ptrtoint ptr %bytes to i64
  store i64 %text_address, ptr %slot_1
  %slot_2 = getelementptr i64, ptr %slots, i64 2
  store i64 %size, ptr %slot_2
  %slot_3 = getelementptr i64, ptr %slots, i64 3
  store i64 %flags, ptr %slot_3
  %entry_at = getelementptr i64, ptr %call, i64 Call.entry
  %entry = load ptr, ptr %entry_at
  %code = call i32 %entry(ptr %slots)
  %n = load i64, ptr %slots
  %no_error = icmp eq i32 %code, 0
  %result = select i1 %no_error, i64 %n, i64 -1
  ret i64 %result
refused:
  ret i64 -1
}

; The same; other threads can run while a long text is encoded
define internal i64 @run_freely(ptr %call, ptr %bytes, i64 %size, i64 %flags) alwaysinline {
  %is_long = icmp sgt i64 %size, 1024
  br i1 %is_long, label %alone, label %here
alone:
  %save = call ptr @python(i64 Python.PyEval_SaveThread)
  %state = call ptr %save()
  %n_alone = call i64 @run(ptr %call, ptr %bytes, i64 %size, i64 %flags)
  %restore = call ptr @python(i64 Python.PyEval_RestoreThread)
  call void %restore(ptr %state)
  ret i64 %n_alone
here:
  %n_here = call i64 @run(ptr %call, ptr %bytes, i64 %size, i64 %flags)
  ret i64 %n_here
}

; Where the kernel of a call writes ids
define internal ptr @ids_at(ptr %call) {
  %field = getelementptr i64, ptr %call, i64 Call.ids
  %ids = load ptr, ptr %field
  ret ptr %ids
}

; n ids, uint32 in a bytes object, and n; if n is negative, n as an object, and -1
define internal { ptr, i64 } @copied(ptr %ids, i64 %n) {
  %is_count = icmp sge i64 %n, 0
  br i1 %is_count, label %make, label %refused
make:
  %copy = call ptr @python(i64 Python.PyBytes_FromStringAndSize)
  %n_bytes = shl i64 %n, 2
  %raw = call ptr %copy(ptr %ids, i64 %n_bytes)
  %with_ids = insertvalue { ptr, i64 } undef, ptr %raw, 0
  %both = insertvalue { ptr, i64 } %with_ids, i64 %n, 1
  ret { ptr, i64 } %both
refused:
  %number = call ptr @python(i64 Python.PyLong_FromLongLong)
  %reason = call ptr %number(i64 %n)
  %with_reason = insertvalue { ptr, i64 } undef, ptr %reason, 0
  %given_back = insertvalue { ptr, i64 } %with_reason, i64 -1, 1
  ret { ptr, i64 } %given_back
}

; The ids of a text, as `copied` gives them
define internal { ptr, i64 } @ids_of(ptr %call, ptr %text, i64 %flags) {
  %size_at = alloca i64
  %utf8 = call ptr @python(i64 Python.PyUnicode_AsUTF8AndSize)
  %bytes = call ptr %utf8(ptr %text, ptr %size_at)
  %is_text = icmp ne ptr %bytes, null
  br i1 %is_text, label %measure, label %error
measure:
  %size = load i64, ptr %size_at
  %n = call i64 @run_freely(ptr %call, ptr %bytes, i64 %size, i64 %flags)
  %ids = call ptr @ids_at(ptr %call)
  %found = call { ptr, i64 } @copied(ptr %ids, i64 %n)
  ret { ptr, i64 } %found
error:
  ret { ptr, i64 } { ptr null, i64 -1 }
}

define ptr @gputok_encode_ids(ptr %self, ptr %arguments, i64 %count) {
  %object = call ptr @given(ptr %arguments, i64 0)
  %call = call ptr @inside(ptr %object, ptr @call_name)
  %is_call = icmp ne ptr %call, null
  br i1 %is_call, label %encode, label %wrong
encode:
  %text = call ptr @given(ptr %arguments, i64 1)
  %flags = call i64 @argument(ptr %arguments, i64 2)
  %found = call { ptr, i64 } @ids_of(ptr %call, ptr %text, i64 %flags)
  %ids = extractvalue { ptr, i64 } %found, 0
  ret ptr %ids
wrong:
  ret ptr null
}

define internal ptr @field(ptr %maker, i64 %number) {
  %where = getelementptr ptr, ptr %maker, i64 %number
  %object = load ptr, ptr %where
  ret ptr %object
}

; 0: no other thread uses the maker, and the caller may use it now
define internal i64 @claim(ptr %maker) {
  %busy_at = getelementptr i64, ptr %maker, i64 Maker.busy
  %busy = atomicrmw xchg ptr %busy_at, i64 1 acquire
  ret i64 %busy
}

define internal void @give_back(ptr %maker) {
  %busy_at = getelementptr i64, ptr %maker, i64 Maker.busy
  store atomic i64 0, ptr %busy_at release, align 8
  ret void
}

define internal void @put_shared(ptr %items, i64 %at, ptr %object) {
  %share = call ptr @python(i64 Python.Py_IncRef)
  call void %share(ptr %object)
  %item = getelementptr ptr, ptr %items, i64 %at
  store ptr %object, ptr %item
  ret void
}

; An encoding, and true; or, and false, an object that says why there is none, or null. %found: of `copied`, for a text.
; Python's garbage collector need not look at the tuple: the encoding alone has it, and it does not refer to the encoding
define internal { ptr, i1 } @wrapped(ptr %maker, ptr %text, i64 %special, { ptr, i64 } %found) {
  %ids = extractvalue { ptr, i64 } %found, 0
  %n = extractvalue { ptr, i64 } %found, 1
  %most_number = add i64 %special, Maker.most
  %most_at = getelementptr i64, ptr %maker, i64 %most_number
  %most = load i64, ptr %most_at
  %is_list = icmp sge i64 %n, 0
  %fits = icmp sle i64 %n, %most
  %got = icmp ne ptr %ids, null
  %simple = and i1 %is_list, %fits
  %good = and i1 %simple, %got
  br i1 %good, label %wrap, label %plain
plain:
  %without = insertvalue { ptr, i1 } { ptr undef, i1 false }, ptr %ids, 0
  ret { ptr, i1 } %without
wrap:
  %new_tuple = call ptr @python(i64 Python.PyTuple_New)
  %tuple = call ptr %new_tuple(i64 Later.n)
  %has_tuple = icmp ne ptr %tuple, null
  br i1 %has_tuple, label %fill, label %drop_ids
fill:
  %items = call ptr @items_of_tuple(ptr %tuple)
  %object = call ptr @field(ptr %maker, i64 Maker.owner)
  call void @put_shared(ptr %items, i64 Later.owner, ptr %object)
  %second = getelementptr ptr, ptr %items, i64 Later.ids
  store ptr %ids, ptr %second
  call void @put_shared(ptr %items, i64 Later.text, ptr %text)
  %special_number = add i64 %special, Maker.flag
  %special_object = call ptr @field(ptr %maker, i64 %special_number)
  call void @put_shared(ptr %items, i64 Later.special, ptr %special_object)
  %none = call ptr @field(ptr %maker, i64 Maker.none)
  call void @put_shared(ptr %items, i64 Later.more, ptr %none)
  %flags = call ptr @field(ptr %maker, i64 Maker.flags)
  call void @put_shared(ptr %items, i64 Later.flags, ptr %flags)
  %kind = call ptr @field(ptr %maker, i64 Maker.kind)
  %allocate = call ptr @field(ptr %maker, i64 Maker.allocate)
  %encoding = call ptr %allocate(ptr %kind, i64 0)
  %has_encoding = icmp ne ptr %encoding, null
  %release = call ptr @python(i64 Python.Py_DecRef)
  br i1 %has_encoding, label %set, label %drop_tuple
set:
  %untrack = call ptr @python(i64 Python.PyObject_GC_UnTrack)
  call void %untrack(ptr %tuple)
  %offset_at = getelementptr i64, ptr %maker, i64 Maker.offset
  %offset = load i64, ptr %offset_at
  %attribute = getelementptr i8, ptr %encoding, i64 %offset
  store ptr %tuple, ptr %attribute
  %with = insertvalue { ptr, i1 } { ptr undef, i1 true }, ptr %encoding, 0
  ret { ptr, i1 } %with
drop_tuple:
  call void %release(ptr %tuple)
  ret { ptr, i1 } zeroinitializer
drop_ids:
  %release_ids = call ptr @python(i64 Python.Py_DecRef)
  call void %release_ids(ptr %ids)
  ret { ptr, i1 } zeroinitializer
}

; The encoding of a text, as `wrapped` gives it
define internal { ptr, i1 } @encoding_of(ptr %maker, ptr %text, i64 %special) {
  %busy = call i64 @claim(ptr %maker)
  %free = icmp eq i64 %busy, 0
  br i1 %free, label %encode, label %taken
encode:
  %call = call ptr @field(ptr %maker, i64 Maker.call)
  %found = call { ptr, i64 } @ids_of(ptr %call, ptr %text, i64 %special)
  call void @give_back(ptr %maker)
  %encoding = call { ptr, i1 } @wrapped(ptr %maker, ptr %text, i64 %special, { ptr, i64 } %found)
  ret { ptr, i1 } %encoding
taken:
  %reason = call { ptr, i64 } @copied(ptr null, i64 -3)
  %object = extractvalue { ptr, i64 } %reason, 0
  %without = insertvalue { ptr, i1 } { ptr undef, i1 false }, ptr %object, 0
  ret { ptr, i1 } %without
}

define ptr @gputok_encode_one(ptr %self, ptr %arguments, i64 %count) {
  %object = call ptr @given(ptr %arguments, i64 0)
  %maker = call ptr @inside(ptr %object, ptr @maker_name)
  %is_maker = icmp ne ptr %maker, null
  br i1 %is_maker, label %encode, label %wrong
encode:
  %text = call ptr @given(ptr %arguments, i64 1)
  %flags = call i64 @argument(ptr %arguments, i64 2)
  %special = and i64 %flags, 1
  %found = call { ptr, i1 } @encoding_of(ptr %maker, ptr %text, i64 %special)
  %encoding = extractvalue { ptr, i1 } %found, 0
  ret ptr %encoding
wrong:
  ret ptr null
}

define ptr @gputok_claim(ptr %self, ptr %arguments, i64 %count) {
  %object = call ptr @given(ptr %arguments, i64 0)
  %maker = call ptr @inside(ptr %object, ptr @maker_name)
  %is_maker = icmp ne ptr %maker, null
  br i1 %is_maker, label %ask, label %wrong
ask:
  %busy = call i64 @claim(ptr %maker)
  %number = call ptr @python(i64 Python.PyLong_FromLongLong)
  %answer = call ptr %number(i64 %busy)
  ret ptr %answer
wrong:
  ret ptr null
}

; A list of encodings; if not all are encodings, a tuple with the list.
; Texts are encoded in groups of at most 256, and of no more when they have 64 KB. Their ids are gathered, and a group ends when
; there is no room for the ids of the last text. The lock of Python is not held for a group of more than %least bytes: the caller
; keeps the list, which no other thread changes, and each str keeps its UTF-8
define ptr @gputok_encode_each(ptr %self, ptr %arguments, i64 %count) {
  %bytes_of = alloca [256 x ptr]
  %size_of = alloca [256 x i64]
  %ids_of = alloca [256 x ptr]
  %n_of = alloca [256 x i64]
  %size_at = alloca i64
  %capsule = call ptr @given(ptr %arguments, i64 0)
  %maker = call ptr @inside(ptr %capsule, ptr @maker_name)
  %is_maker = icmp ne ptr %maker, null
  br i1 %is_maker, label %look_up, label %none
look_up:
  %texts = call ptr @given(ptr %arguments, i64 1)
  %n = call i64 @argument(ptr %arguments, i64 2)
  %flags = call i64 @argument(ptr %arguments, i64 3)
  %special = and i64 %flags, 1
  %least = call i64 @argument(ptr %arguments, i64 4)
  %call = call ptr @field(ptr %maker, i64 Maker.call)
  %written = call ptr @ids_at(ptr %call)
  %gathered = call ptr @field(ptr %maker, i64 Maker.gathered)
  %room_at = getelementptr i64, ptr %maker, i64 Maker.room
  %room = load i64, ptr %room_at
  %get = call ptr @python(i64 Python.PyList_GetItem)
  %utf8 = call ptr @python(i64 Python.PyUnicode_AsUTF8AndSize)
  %save = call ptr @python(i64 Python.PyEval_SaveThread)
  %restore = call ptr @python(i64 Python.PyEval_RestoreThread)
  %release = call ptr @python(i64 Python.Py_DecRef)
  %list = call ptr @hidden(i64 %n)
  %made = icmp ne ptr %list, null
  br i1 %made, label %begin, label %none
begin:
  %items = call ptr @items_of_list(ptr %list)
  br label %group
group:
  %first = phi i64 [ 0, %begin ], [ %after_taken, %put_reason ], [ %after, %grouped ]
  %all = phi i1 [ true, %begin ], [ false, %put_reason ], [ %all_so_far, %grouped ]
  %more = icmp slt i64 %first, %n
  br i1 %more, label %claim, label %done
claim:
  %busy = call i64 @claim(ptr %maker)
  %free = icmp eq i64 %busy, 0
  br i1 %free, label %collect, label %taken
taken:
  %why = call { ptr, i64 } @copied(ptr null, i64 -3)
  %reason = extractvalue { ptr, i64 } %why, 0
  %has_reason = icmp ne ptr %reason, null
  br i1 %has_reason, label %put_reason, label %drop
put_reason:
  %reason_at = getelementptr ptr, ptr %items, i64 %first
  store ptr %reason, ptr %reason_at
  %after_taken = add i64 %first, 1
  br label %group
collect:
  %k = phi i64 [ 0, %claim ], [ %k_next, %note ]
  %sum = phi i64 [ 0, %claim ], [ %sum_next, %note ]
  %at = add i64 %first, %k
  %in_list = icmp slt i64 %at, %n
  %in_group = icmp slt i64 %k, 256
  %is_small = icmp slt i64 %sum, 65536
  %in_both = and i1 %in_list, %in_group
  %goes_on = and i1 %in_both, %is_small
  br i1 %goes_on, label %look, label %collected
look:
  %text = call ptr %get(ptr %texts, i64 %at)
  %is_there = icmp ne ptr %text, null
  br i1 %is_there, label %open, label %fail
open:
  %bytes = call ptr %utf8(ptr %text, ptr %size_at)
  %is_text = icmp ne ptr %bytes, null
  br i1 %is_text, label %note, label %fail
note:
  %size = load i64, ptr %size_at
  %bytes_slot = getelementptr ptr, ptr %bytes_of, i64 %k
  store ptr %bytes, ptr %bytes_slot
  %size_slot = getelementptr i64, ptr %size_of, i64 %k
  store i64 %size, ptr %size_slot
  %sum_next = add i64 %sum, %size
  %k_next = add i64 %k, 1
  br label %collect
collected:
  %is_long = icmp sgt i64 %sum, %least
  br i1 %is_long, label %unlock, label %encode
unlock:
  %state = call ptr %save()
  br label %encode
encode:
  %lock = phi ptr [ null, %collected ], [ %state, %unlock ]
  br label %test
test:
  %i = phi i64 [ 0, %encode ], [ %i_next, %gather ]
  %used = phi i64 [ 0, %encode ], [ %used_next, %gather ]
  %is_next = icmp slt i64 %i, %k
  br i1 %is_next, label %one, label %encoded
one:
  %one_bytes_at = getelementptr ptr, ptr %bytes_of, i64 %i
  %one_bytes = load ptr, ptr %one_bytes_at
  %one_size_at = getelementptr i64, ptr %size_of, i64 %i
  %one_size = load i64, ptr %one_size_at
  %one_n = call i64 @run(ptr %call, ptr %one_bytes, i64 %one_size, i64 %special)
  %n_slot = getelementptr i64, ptr %n_of, i64 %i
  store i64 %one_n, ptr %n_slot
  %ids_slot = getelementptr ptr, ptr %ids_of, i64 %i
  store ptr %written, ptr %ids_slot
  %i_next = add i64 %i, 1
  %has_ids = icmp sgt i64 %one_n, 0
  %n_ids = select i1 %has_ids, i64 %one_n, i64 0
  %used_next = add i64 %used, %n_ids
  %fits = icmp sle i64 %used_next, %room
  br i1 %fits, label %gather, label %encoded
gather:
  %to = getelementptr i32, ptr %gathered, i64 %used
  %n_bytes = shl i64 %n_ids, 2
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %written, i64 %n_bytes, i1 false)
  store ptr %to, ptr %ids_slot
  br label %test
encoded:
  %n_encoded = phi i64 [ %k, %test ], [ %i_next, %one ]
  %is_unlocked = icmp ne ptr %lock, null
  br i1 %is_unlocked, label %again, label %wrap
again:
  call void %restore(ptr %lock)
  br label %wrap
wrap:
  %j = phi i64 [ 0, %encoded ], [ 0, %again ], [ %j_next, %store ]
  %all_so_far = phi i1 [ %all, %encoded ], [ %all, %again ], [ %still, %store ]
  %is_more = icmp slt i64 %j, %n_encoded
  br i1 %is_more, label %make_one, label %grouped
make_one:
  %index = add i64 %first, %j
  %its_text = call ptr %get(ptr %texts, i64 %index)
  %its_ids_at = getelementptr ptr, ptr %ids_of, i64 %j
  %its_ids = load ptr, ptr %its_ids_at
  %its_n_at = getelementptr i64, ptr %n_of, i64 %j
  %its_n = load i64, ptr %its_n_at
  %raw = call { ptr, i64 } @copied(ptr %its_ids, i64 %its_n)
  %found = call { ptr, i1 } @wrapped(ptr %maker, ptr %its_text, i64 %special, { ptr, i64 } %raw)
  %object = extractvalue { ptr, i1 } %found, 0
  %is_encoding = extractvalue { ptr, i1 } %found, 1
  %still = and i1 %all_so_far, %is_encoding
  %got = icmp ne ptr %object, null
  br i1 %got, label %store, label %fail
store:
  %item = getelementptr ptr, ptr %items, i64 %index
  store ptr %object, ptr %item
  %j_next = add i64 %j, 1
  br label %wrap
grouped:
  call void @give_back(ptr %maker)
  %after = add i64 %first, %n_encoded
  br label %group
done:
  br i1 %all, label %whole, label %enclose
whole:
  %finished = call ptr @shown(ptr %list)
  ret ptr %finished
enclose:
  %new_tuple = call ptr @python(i64 Python.PyTuple_New)
  %tuple = call ptr %new_tuple(i64 1)
  %has_tuple = icmp ne ptr %tuple, null
  br i1 %has_tuple, label %fill, label %drop
fill:
  %inside = call ptr @shown(ptr %list)
  %put_in_tuple = call ptr @python(i64 Python.PyTuple_SetItem)
  %filled = call i32 %put_in_tuple(ptr %tuple, i64 0, ptr %list)
  ret ptr %tuple
fail:
  call void @give_back(ptr %maker)
  br label %drop
drop:
  call void %release(ptr %list)
  ret ptr null
none:
  ret ptr null
}

define internal ptr @of_classes(i64 %number) {
  %where = getelementptr ptr, ptr @gputok_classes, i64 %number
  %object = load ptr, ptr %where
  ret ptr %object
}

; Whether an object is a str, and of no other class
define internal i1 @is_str(ptr %object) {
  %field_at = getelementptr i64, ptr @gputok_integers, i64 Integers.kind
  %field = load i64, ptr %field_at
  %kind_at = getelementptr i8, ptr %object, i64 %field
  %kind = load ptr, ptr %kind_at
  %str = call ptr @of_classes(i64 Classes.string)
  %same = icmp eq ptr %kind, %str
  ret i1 %same
}

define internal i64 @name_count(ptr %names) {
  %none = icmp eq ptr %names, null
  br i1 %none, label %empty, label %some
some:
  %measure = call ptr @python(i64 Python.PyTuple_Size)
  %n = call i64 %measure(ptr %names)
  ret i64 %n
empty:
  ret i64 0
}

; What the method in Python returns
define internal ptr @encode_in_python(ptr %self, ptr %arguments, i64 %count, ptr %names) {
  %n_names = call i64 @name_count(ptr %names)
  %n = add i64 %count, %n_names
  %with_self = add i64 %n, 1
  %all = alloca ptr, i64 %with_self
  store ptr %self, ptr %all
  br label %test
test:
  %i = phi i64 [ 0, %0 ], [ %next, %copy ]
  %next = add i64 %i, 1
  %more = icmp slt i64 %i, %n
  br i1 %more, label %copy, label %copied
copy:
  %from = getelementptr ptr, ptr %arguments, i64 %i
  %argument = load ptr, ptr %from
  %to = getelementptr ptr, ptr %all, i64 %next
  store ptr %argument, ptr %to
  br label %test
copied:
  %function = call ptr @of_classes(i64 Classes.encode)
  %invoke = call ptr @python(i64 Python.PyObject_Vectorcall)
  %given = add i64 %count, 1
  %found = call ptr %invoke(ptr %function, ptr %all, i64 %given, ptr %names)
  ret ptr %found
}

; The method Tokenizer.encode: a str, perhaps with add_special_tokens=, is encoded here
define ptr @gputok_encode(ptr %self, ptr %arguments, i64 %count, ptr %names) {
  %three = alloca [3 x ptr]
  %one = icmp eq i64 %count, 1
  br i1 %one, label %look, label %slow
look:
  %text = load ptr, ptr %arguments
  %is_text = call i1 @is_str(ptr %text)
  br i1 %is_text, label %options, label %slow
options:
  %is_plain = icmp eq ptr %names, null
  br i1 %is_plain, label %ready, label %named
named:
  %n_names = call i64 @name_count(ptr %names)
  %one_name = icmp eq i64 %n_names, 1
  br i1 %one_name, label %read, label %slow
read:
  %name = call ptr @item_of(ptr %names, i64 0)
  %option = call ptr @of_classes(i64 Classes.add_special_tokens)
  %is_option = icmp eq ptr %name, %option
  %value_at = getelementptr ptr, ptr %arguments, i64 1
  %value = load ptr, ptr %value_at
  %true = call ptr @of_classes(i64 Classes.true)
  %false = call ptr @of_classes(i64 Classes.false)
  %is_true = icmp eq ptr %value, %true
  %is_false = icmp eq ptr %value, %false
  %is_bool = or i1 %is_true, %is_false
  %is_known = and i1 %is_option, %is_bool
  br i1 %is_known, label %ready, label %slow
ready:
  %with_special = phi i1 [ true, %options ], [ %is_true, %read ]
  %special = zext i1 %with_special to i64
  %get = call ptr @python(i64 Python.PyObject_GetAttr)
  %attribute = call ptr @of_classes(i64 Classes.texts)
  %state = call ptr %get(ptr %self, ptr %attribute)
  %has_state = icmp ne ptr %state, null
  br i1 %has_state, label %check, label %error
check:
  %item = call ptr @python(i64 Python.PyTuple_GetItem)
  %finisher = call ptr %item(ptr %state, i64 Texts.finish)
  %has_finisher = icmp ne ptr %finisher, null
  br i1 %has_finisher, label %compare, label %wrong
wrong:
  %release_wrong = call ptr @python(i64 Python.Py_DecRef)
  call void %release_wrong(ptr %state)
  br label %error
compare:
  %version = call ptr @item_of(ptr %state, i64 Texts.version)
  %versions = call ptr @of_classes(i64 Classes.versions)
  %item_of_list = call ptr @python(i64 Python.PyList_GetItem)
  %now = call ptr %item_of_list(ptr %versions, i64 0)
  %is_current = icmp eq ptr %version, %now
  br i1 %is_current, label %open, label %leave
open:
  %address = call ptr @item_of(ptr %state, i64 Texts.address)
  %maker = call ptr @maker_at(ptr %address)
  %has_maker = icmp ne ptr %maker, null
  br i1 %has_maker, label %encode, label %leave
encode:
  %either = call { ptr, i1 } @encoding_of(ptr %maker, ptr %text, i64 %special)
  %found = extractvalue { ptr, i1 } %either, 0
  %is_encoding = extractvalue { ptr, i1 } %either, 1
  %failed = icmp eq ptr %found, null
  %is_done = or i1 %is_encoding, %failed
  br i1 %is_done, label %done, label %finish
finish:
  %special_number = add i64 %special, Maker.flag
  %special_object = call ptr @field(ptr %maker, i64 %special_number)
  %second = getelementptr ptr, ptr %three, i64 1
  %third = getelementptr ptr, ptr %three, i64 2
  store ptr %found, ptr %three
  store ptr %text, ptr %second
  store ptr %special_object, ptr %third
  %invoke = call ptr @python(i64 Python.PyObject_Vectorcall)
  %finished = call ptr %invoke(ptr %finisher, ptr %three, i64 3, ptr null)
  %release_found = call ptr @python(i64 Python.Py_DecRef)
  call void %release_found(ptr %found)
  %none = call ptr @of_classes(i64 Classes.none)
  %is_none = icmp eq ptr %finished, %none
  br i1 %is_none, label %other, label %done
other:
  call void %release_found(ptr %none)
  br label %leave
done:
  %result = phi ptr [ %found, %encode ], [ %finished, %finish ]
  %release = call ptr @python(i64 Python.Py_DecRef)
  call void %release(ptr %state)
  ret ptr %result
leave:
  %release_state = call ptr @python(i64 Python.Py_DecRef)
  call void %release_state(ptr %state)
  br label %slow
slow:
  %in_python = call ptr @encode_in_python(ptr %self, ptr %arguments, i64 %count, ptr %names)
  ret ptr %in_python
error:
  ret ptr null
}

; The tuple `_later` of an encoding, borrowed, which has six items or more; null: Python must make its attributes. A property is
; only asked for encodings
define internal ptr @later_of(ptr %encoding) alwaysinline {
  %offset_of = call ptr @of_classes(i64 Classes.offset)
  %offset = ptrtoint ptr %offset_of to i64
  %attribute = getelementptr i8, ptr %encoding, i64 %offset
  %later = load ptr, ptr %attribute
  %none = call ptr @of_classes(i64 Classes.none)
  %is_set = icmp ne ptr %later, null
  %is_some = icmp ne ptr %later, %none
  %is_made = and i1 %is_set, %is_some
  br i1 %is_made, label %read, label %leave
read:
  %item = call ptr @python(i64 Python.PyTuple_GetItem)
  %flags = call ptr %item(ptr %later, i64 Later.flags)
  %has_flags = icmp ne ptr %flags, null
  br i1 %has_flags, label %compare, label %clear
compare:
  %zero = call ptr @of_classes(i64 Classes.zero)
  %is_whole = icmp eq ptr %flags, %zero
  br i1 %is_whole, label %found, label %leave
found:
  ret ptr %later
clear:
  %forget = call ptr @python(i64 Python.PyErr_Clear)
  call void %forget()
  br label %leave
leave:
  ret ptr null
}

; The `Maker` of the owner in a tuple `_later`; the owner keeps it alive. null: there is none
define internal ptr @maker_of(ptr %later) {
  %owner = call ptr @item_of(ptr %later, i64 Later.owner)
  %get = call ptr @python(i64 Python.PyObject_GetAttr)
  %name = call ptr @of_classes(i64 Classes.address)
  %object = call ptr %get(ptr %owner, ptr %name)
  %has_object = icmp ne ptr %object, null
  br i1 %has_object, label %read, label %none
read:
  %maker = call ptr @maker_at(ptr %object)
  %release = call ptr @python(i64 Python.Py_DecRef)
  call void %release(ptr %object)
  ret ptr %maker
none:
  %clear = call ptr @python(i64 Python.PyErr_Clear)
  call void %clear()
  ret ptr null
}

; What a property in Python returns; %number: of its function. %later: null, or a tuple that is released
define internal ptr @attribute_in_python(ptr %encoding, ptr %later, i64 %number) {
  %one = alloca ptr
  store ptr %encoding, ptr %one
  %is_later = icmp ne ptr %later, null
  br i1 %is_later, label %drop, label %ask
drop:
  %release = call ptr @python(i64 Python.Py_DecRef)
  call void %release(ptr %later)
  br label %ask
ask:
  %function = call ptr @of_classes(i64 %number)
  %invoke = call ptr @python(i64 Python.PyObject_Vectorcall)
  %found = call ptr %invoke(ptr %function, ptr %one, i64 1, ptr null)
  ret ptr %found
}

; The property Encoding.ids: a list of ids without padding is made here
define ptr @gputok_ids(ptr %encoding, ptr %nothing) {
  %later = call ptr @later_of(ptr %encoding)
  %is_later = icmp ne ptr %later, null
  br i1 %is_later, label %list, label %leave
list:
  %ids = call ptr @item_of(ptr %later, i64 Later.ids)
  %share = call ptr @python(i64 Python.Py_IncRef)
  call void %share(ptr %ids)
  %made = call ptr @new_list(ptr %ids)
  %release = call ptr @python(i64 Python.Py_DecRef)
  call void %release(ptr %ids)
  ret ptr %made
leave:
  %in_python = call ptr @attribute_in_python(ptr %encoding, ptr null, i64 Classes.ids)
  ret ptr %in_python
}

; The text of a row of the vocabulary; or null
define internal ptr @text_of(ptr %maker, i64 %row) {
  %data = call ptr @field(ptr %maker, i64 Maker.data)
  %offsets = call ptr @field(ptr %maker, i64 Maker.offsets)
  %first_at = getelementptr i64, ptr %offsets, i64 %row
  %first = load i64, ptr %first_at
  %last_at = getelementptr i64, ptr %first_at, i64 1
  %last = load i64, ptr %last_at
  %n = sub i64 %last, %first
  %bytes = getelementptr i8, ptr %data, i64 %first
  %make = call ptr @python(i64 Python.PyUnicode_FromStringAndSize)
  %text = call ptr %make(ptr %bytes, i64 %n)
  ret ptr %text
}

; The property Encoding.tokens, if a `Maker` has the texts of all tokens, or the rows that they are made of. New texts are kept in
; the list of texts, which never changes its length, and no other thread can run meanwhile
define ptr @gputok_tokens(ptr %encoding, ptr %nothing) {
  %ids_at = alloca ptr
  %size_at = alloca i64
  %later = call ptr @later_of(ptr %encoding)
  %is_later = icmp ne ptr %later, null
  br i1 %is_later, label %find, label %leave
find:
  %own = call ptr @python(i64 Python.Py_IncRef)
  call void %own(ptr %later)
  %maker = call ptr @maker_of(ptr %later)
  %has_maker = icmp ne ptr %maker, null
  br i1 %has_maker, label %look_up, label %leave
look_up:
  %names = call ptr @field(ptr %maker, i64 Maker.texts)
  %has_names = icmp ne ptr %names, null
  br i1 %has_names, label %open, label %leave
open:
  %raw = call ptr @item_of(ptr %later, i64 Later.ids)
  %read = call ptr @python(i64 Python.PyBytes_AsStringAndSize)
  %refused = call i32 %read(ptr %raw, ptr %ids_at, ptr %size_at)
  %is_bytes = icmp eq i32 %refused, 0
  br i1 %is_bytes, label %begin, label %failed
begin:
  %ids = load ptr, ptr %ids_at
  %size = load i64, ptr %size_at
  %n = lshr i64 %size, 2
  %table = call ptr @items_of_list(ptr %names)
  %measure = call ptr @python(i64 Python.PyList_Size)
  %known = call i64 %measure(ptr %names)
  %rows = call ptr @field(ptr %maker, i64 Maker.rows)
  %none = call ptr @of_classes(i64 Classes.none)
  %release = call ptr @python(i64 Python.Py_DecRef)
  %share = call ptr @python(i64 Python.Py_IncRef)
  %make = call ptr @python(i64 Python.PyList_New)
  %list = call ptr %make(i64 %n)
  %made = icmp ne ptr %list, null
  br i1 %made, label %fill, label %failed
fill:
  %items = call ptr @items_of_list(ptr %list)
  br label %test
test:
  %i = phi i64 [ 0, %fill ], [ %next, %store ]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %look, label %done
look:
  %at = getelementptr i32, ptr %ids, i64 %i
  %narrow = load i32, ptr %at, align 1
  %id = zext i32 %narrow to i64
  %in_table = icmp ult i64 %id, %known
  br i1 %in_table, label %ask, label %unknown
ask:
  %slot = getelementptr ptr, ptr %table, i64 %id
  %kept = load ptr, ptr %slot
  %is_new = icmp eq ptr %kept, %none
  br i1 %is_new, label %find_row, label %store
find_row:
  %row_at = getelementptr i32, ptr %rows, i64 %id
  %row_narrow = load i32, ptr %row_at
  %row = sext i32 %row_narrow to i64
  %has_row = icmp sge i64 %row, 0
  br i1 %has_row, label %spell, label %unknown
spell:
  %fresh = call ptr @text_of(ptr %maker, i64 %row)
  %is_text = icmp ne ptr %fresh, null
  br i1 %is_text, label %keep, label %no_text
keep:
  store ptr %fresh, ptr %slot
  call void %release(ptr %none)
  br label %store
store:
  %name = phi ptr [ %kept, %ask ], [ %fresh, %keep ]
  call void %share(ptr %name)
  %place = getelementptr ptr, ptr %items, i64 %i
  store ptr %name, ptr %place
  %next = add i64 %i, 1
  br label %test
done:
  call void %release(ptr %later)
  ret ptr %list
unknown:
  call void %release(ptr %list)
  br label %leave
no_text:
  call void %release(ptr %list)
  br label %failed
leave:
  %in_python = call ptr @attribute_in_python(ptr %encoding, ptr %later, i64 Classes.tokens)
  ret ptr %in_python
failed:
  %release_later = call ptr @python(i64 Python.Py_DecRef)
  call void %release_later(ptr %later)
  ret ptr null
}

; Writes the positions of the tokens of a text, trimmed, to the memory of a `Maker` that the caller has claimed. The number of
; tokens, or a negative number
define internal i64 @positions_of(ptr %maker, ptr %bytes, i64 %size, i64 %special) {
  %slots = alloca [3 x i64]
  %call = call ptr @field(ptr %maker, i64 Maker.positions)
  %flags = or i64 %special, 2
  %n = call i64 @run_freely(ptr %call, ptr %bytes, i64 %size, i64 %flags)
  %is_count = icmp sge i64 %n, 0
  br i1 %is_count, label %trim, label %refused
trim:
  %handle_at = getelementptr i64, ptr %call, i64 Call.handle
  %handle = load i64, ptr %handle_at
  store i64 %handle, ptr %slots
  %n_before_field = add i64 %special, Maker.n_before
  %n_before_at = getelementptr i64, ptr %maker, i64 %n_before_field
  %n_before = load i64, ptr %n_before_at
  %slot_1 = getelementptr i64, ptr %slots, i64 1
  store i64 %n_before, ptr %slot_1
  %n_after_field = add i64 %special, Maker.n_after
  %n_after_at = getelementptr i64, ptr %maker, i64 %n_after_field
  %n_after = load i64, ptr %n_after_at
  %last = sub i64 %n, %n_after
  %slot_2 = getelementptr i64, ptr %slots, i64 2
  store i64 %last, ptr %slot_2
  %entry = call ptr @field(ptr %maker, i64 Maker.trim)
  %code = call i32 %entry(ptr %slots)
  %trimmed = load i64, ptr %slots
  %no_error = icmp eq i32 %code, 0
  %is_known = icmp sge i64 %trimmed, 0
  %good = and i1 %no_error, %is_known
  br i1 %good, label %done, label %refused
done:
  ret i64 %n
refused:
  ret i64 -1
}

; A tuple of two numbers, at which Python's garbage collector need not look; or null
define internal ptr @pair(i64 %first, i64 %second) {
  %new = call ptr @python(i64 Python.PyTuple_New)
  %release = call ptr @python(i64 Python.Py_DecRef)
  %tuple = call ptr %new(i64 2)
  %made = icmp ne ptr %tuple, null
  br i1 %made, label %fill, label %none
fill:
  %items = call ptr @items_of_tuple(ptr %tuple)
  %a = call ptr @number(i64 %first)
  %has_a = icmp ne ptr %a, null
  br i1 %has_a, label %next, label %drop
next:
  store ptr %a, ptr %items
  %b = call ptr @number(i64 %second)
  %has_b = icmp ne ptr %b, null
  br i1 %has_b, label %done, label %drop
done:
  %place = getelementptr ptr, ptr %items, i64 1
  store ptr %b, ptr %place
  %untrack = call ptr @python(i64 Python.PyObject_GC_UnTrack)
  call void %untrack(ptr %tuple)
  ret ptr %tuple
drop:
  call void %release(ptr %tuple)
  ret ptr null
none:
  ret ptr null
}

; The property Encoding.offsets, if the `Maker` has a kernel that trims positions, and no other thread uses the `Maker`
define ptr @gputok_offsets(ptr %encoding, ptr %nothing) {
  %size_at = alloca i64
  %later = call ptr @later_of(ptr %encoding)
  %is_later = icmp ne ptr %later, null
  br i1 %is_later, label %find, label %leave
find:
  %own = call ptr @python(i64 Python.Py_IncRef)
  call void %own(ptr %later)
  %maker = call ptr @maker_of(ptr %later)
  %has_maker = icmp ne ptr %maker, null
  br i1 %has_maker, label %look, label %leave
look:
  %entry = call ptr @field(ptr %maker, i64 Maker.trim)
  %can_trim = icmp ne ptr %entry, null
  %flag = call ptr @item_of(ptr %later, i64 Later.special)
  %without = call ptr @field(ptr %maker, i64 Maker.flag)
  %with = call ptr @field(ptr %maker, i64 Maker.flag_special)
  %is_without = icmp eq ptr %flag, %without
  %is_with = icmp eq ptr %flag, %with
  %is_flag = or i1 %is_without, %is_with
  %goes_on = and i1 %can_trim, %is_flag
  br i1 %goes_on, label %open, label %leave
open:
  %special = zext i1 %is_with to i64
  %release = call ptr @python(i64 Python.Py_DecRef)
  %text = call ptr @item_of(ptr %later, i64 Later.text)
  %utf8 = call ptr @python(i64 Python.PyUnicode_AsUTF8AndSize)
  %bytes = call ptr %utf8(ptr %text, ptr %size_at)
  %is_text = icmp ne ptr %bytes, null
  br i1 %is_text, label %claim, label %failed
claim:
  %busy = call i64 @claim(ptr %maker)
  %free = icmp eq i64 %busy, 0
  br i1 %free, label %encode, label %leave
encode:
  %size = load i64, ptr %size_at
  %n = call i64 @positions_of(ptr %maker, ptr %bytes, i64 %size, i64 %special)
  %has_positions = icmp sge i64 %n, 0
  br i1 %has_positions, label %list_them, label %give_back
give_back:
  call void @give_back(ptr %maker)
  br label %leave
list_them:
  %begins = call ptr @field(ptr %maker, i64 Maker.begins)
  %ends = call ptr @field(ptr %maker, i64 Maker.ends)
  %list = call ptr @hidden(i64 %n)
  %made = icmp ne ptr %list, null
  br i1 %made, label %fill, label %no_list
fill:
  %items = call ptr @items_of_list(ptr %list)
  br label %test
test:
  %i = phi i64 [ 0, %fill ], [ %next, %store ]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %one, label %done
one:
  %begin_at = getelementptr i64, ptr %begins, i64 %i
  %begin = load i64, ptr %begin_at
  %end_at = getelementptr i64, ptr %ends, i64 %i
  %end = load i64, ptr %end_at
  %pair = call ptr @pair(i64 %begin, i64 %end)
  %got = icmp ne ptr %pair, null
  br i1 %got, label %store, label %drop
store:
  %place = getelementptr ptr, ptr %items, i64 %i
  store ptr %pair, ptr %place
  %next = add i64 %i, 1
  br label %test
done:
  call void @give_back(ptr %maker)
  call void %release(ptr %later)
  %finished = call ptr @shown(ptr %list)
  ret ptr %finished
drop:
  call void %release(ptr %list)
  br label %no_list
no_list:
  call void @give_back(ptr %maker)
  br label %failed
leave:
  %in_python = call ptr @attribute_in_python(ptr %encoding, ptr %later, i64 Classes.offsets)
  ret ptr %in_python
failed:
  %release_later = call ptr @python(i64 Python.Py_DecRef)
  call void %release_later(ptr %later)
  ret ptr null
}
