; The builtin functions that kernels/native/objects.py describes. @gputok_python holds the addresses of Python's functions,
; by the numbers of `objects.FUNCTIONS`.

@gputok_python = global [13 x ptr] zeroinitializer

define internal ptr @python(i64 %number) {
  %where = getelementptr [13 x ptr], ptr @gputok_python, i64 0, i64 %number
  %function = load ptr, ptr %where
  ret ptr %function
}

define internal i64 @argument(ptr %arguments, i64 %number) {
  %where = getelementptr ptr, ptr %arguments, i64 %number
  %object = load ptr, ptr %where
  %convert = call ptr @python(i64 4)
  %value = call i64 %convert(ptr %object)
  ret i64 %value
}

define internal ptr @new_list(ptr %ids, i64 %n, i1 %narrow, ptr %table, i64 %known) {
  %make = call ptr @python(i64 1)
  %put = call ptr @python(i64 2)
  %share = call ptr @python(i64 3)
  %number = call ptr @python(i64 5)
  %list = call ptr %make(i64 %n)
  %made = icmp ne ptr %list, null
  br i1 %made, label %test, label %none
test:
  %i = phi i64 [ 0, %0 ], [ %next, %store ]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %read, label %done
read:
  br i1 %narrow, label %read_two, label %read_four
read_two:
  %at_two = getelementptr i16, ptr %ids, i64 %i
  %two = load i16, ptr %at_two, align 1
  %of_two = zext i16 %two to i64
  br label %choose
read_four:
  %at_four = getelementptr i32, ptr %ids, i64 %i
  %four = load i32, ptr %at_four, align 1
  %of_four = zext i32 %four to i64
  br label %choose
choose:
  %id = phi i64 [ %of_two, %read_two ], [ %of_four, %read_four ]
  %in_table = icmp ult i64 %id, %known
  br i1 %in_table, label %shared, label %new
shared:
  %slot = getelementptr ptr, ptr %table, i64 %id
  %found = load ptr, ptr %slot
  call void %share(ptr %found)
  br label %store
new:
  %fresh = call ptr %number(i64 %id)
  %got = icmp ne ptr %fresh, null
  br i1 %got, label %store, label %drop
store:
  %object = phi ptr [ %found, %shared ], [ %fresh, %new ]
  %status = call i32 %put(ptr %list, i64 %i, ptr %object)
  %next = add i64 %i, 1
  br label %test
done:
  ret ptr %list
drop:
  %release = call ptr @python(i64 8)
  call void %release(ptr %list)
  ret ptr null
none:
  ret ptr null
}

define ptr @gputok_list_ids(ptr %self, ptr %arguments, i64 %count) {
  %address = call i64 @argument(ptr %arguments, i64 0)
  %n = call i64 @argument(ptr %arguments, i64 1)
  %width = call i64 @argument(ptr %arguments, i64 2)
  %entries = call i64 @argument(ptr %arguments, i64 3)
  %known = call i64 @argument(ptr %arguments, i64 4)
  %ids = inttoptr i64 %address to ptr
  %table = inttoptr i64 %entries to ptr
  %narrow = icmp eq i64 %width, 2
  %list = call ptr @new_list(ptr %ids, i64 %n, i1 %narrow, ptr %table, i64 %known)
  ret ptr %list
}

; The ids of a text, their number; or a negative number, as an object too
define internal { ptr, i64 } @ids_of(ptr %call, ptr %text, i64 %flags) {
  %slots = alloca [4 x i64]
  %size_at = alloca i64
  %utf8 = call ptr @python(i64 0)
  %bytes = call ptr %utf8(ptr %text, ptr %size_at)
  %is_text = icmp ne ptr %bytes, null
  br i1 %is_text, label %measure, label %error
measure:
  %size = load i64, ptr %size_at
  %special = and i64 %flags, 1
  %longest_field = add i64 %special, 2
  %longest_at = getelementptr i64, ptr %call, i64 %longest_field
  %longest = load i64, ptr %longest_at
  %fits = icmp sle i64 %size, %longest
  br i1 %fits, label %fill, label %refused
fill:
  %handle_at = getelementptr i64, ptr %call, i64 1
  %handle = load i64, ptr %handle_at
  store i64 %handle, ptr %slots
  %slot_1 = getelementptr i64, ptr %slots, i64 1
  %text_address = ptrtoint ptr %bytes to i64
  store i64 %text_address, ptr %slot_1
  %slot_2 = getelementptr i64, ptr %slots, i64 2
  store i64 %size, ptr %slot_2
  %slot_3 = getelementptr i64, ptr %slots, i64 3
  store i64 %flags, ptr %slot_3
  %entry = load ptr, ptr %call
  %is_long = icmp sgt i64 %size, 1024
  br i1 %is_long, label %run_alone, label %run
run_alone:
  %save = call ptr @python(i64 6)
  %state = call ptr %save()
  %code_alone = call i32 %entry(ptr %slots)
  %restore = call ptr @python(i64 7)
  call void %restore(ptr %state)
  br label %ran
run:
  %code_here = call i32 %entry(ptr %slots)
  br label %ran
ran:
  %code = phi i32 [ %code_alone, %run_alone ], [ %code_here, %run ]
  %n = load i64, ptr %slots
  %no_error = icmp eq i32 %code, 0
  br i1 %no_error, label %look, label %refused
look:
  %not_refused = icmp sge i64 %n, 0
  br i1 %not_refused, label %make, label %refused
make:
  %ids_at = getelementptr i64, ptr %call, i64 4
  %ids_address = load i64, ptr %ids_at
  %ids = inttoptr i64 %ids_address to ptr
  %shared_at = getelementptr i64, ptr %call, i64 5
  %shared_address = load i64, ptr %shared_at
  %shared = inttoptr i64 %shared_address to ptr
  %known_at = getelementptr i64, ptr %shared, i64 1
  %known = load atomic i64, ptr %known_at acquire, align 8
  %table = load ptr, ptr %shared
  %list = call ptr @new_list(ptr %ids, i64 %n, i1 0, ptr %table, i64 %known)
  %with_list = insertvalue { ptr, i64 } undef, ptr %list, 0
  %listed = insertvalue { ptr, i64 } %with_list, i64 %n, 1
  ret { ptr, i64 } %listed
refused:
  %why = phi i64 [ -1, %measure ], [ -1, %ran ], [ %n, %look ]
  %number = call ptr @python(i64 5)
  %reason = call ptr %number(i64 %why)
  %with_reason = insertvalue { ptr, i64 } undef, ptr %reason, 0
  %given_back = insertvalue { ptr, i64 } %with_reason, i64 -1, 1
  ret { ptr, i64 } %given_back
error:
  ret { ptr, i64 } { ptr null, i64 -1 }
}

define ptr @gputok_encode_ids(ptr %self, ptr %arguments, i64 %count) {
  %address = call i64 @argument(ptr %arguments, i64 0)
  %flags = call i64 @argument(ptr %arguments, i64 2)
  %call = inttoptr i64 %address to ptr
  %text_at = getelementptr ptr, ptr %arguments, i64 1
  %text = load ptr, ptr %text_at
  %found = call { ptr, i64 } @ids_of(ptr %call, ptr %text, i64 %flags)
  %ids = extractvalue { ptr, i64 } %found, 0
  ret ptr %ids
}

define internal ptr @field(ptr %maker, i64 %number) {
  %where = getelementptr ptr, ptr %maker, i64 %number
  %object = load ptr, ptr %where
  ret ptr %object
}

define internal void @put_shared(ptr %tuple, i64 %at, ptr %object) {
  %share = call ptr @python(i64 3)
  call void %share(ptr %object)
  %put = call ptr @python(i64 10)
  %status = call i32 %put(ptr %tuple, i64 %at, ptr %object)
  ret void
}

define internal ptr @encoding_of(ptr %maker, ptr %text, i64 %special) {
  %busy = atomicrmw xchg ptr %maker, i64 1 acquire
  %free = icmp eq i64 %busy, 0
  br i1 %free, label %encode, label %taken
taken:
  %number = call ptr @python(i64 5)
  %reason = call ptr %number(i64 -3)
  ret ptr %reason
encode:
  %call = call ptr @field(ptr %maker, i64 1)
  %found = call { ptr, i64 } @ids_of(ptr %call, ptr %text, i64 %special)
  store atomic i64 0, ptr %maker release, align 8
  %ids = extractvalue { ptr, i64 } %found, 0
  %n = extractvalue { ptr, i64 } %found, 1
  %most_number = add i64 %special, 10
  %most_at = getelementptr i64, ptr %maker, i64 %most_number
  %most = load i64, ptr %most_at
  %is_list = icmp sge i64 %n, 0
  %fits = icmp sle i64 %n, %most
  %got = icmp ne ptr %ids, null
  %simple = and i1 %is_list, %fits
  %good = and i1 %simple, %got
  br i1 %good, label %wrap, label %plain
plain:
  ret ptr %ids
wrap:
  %new_tuple = call ptr @python(i64 9)
  %tuple = call ptr %new_tuple(i64 6)
  %has_tuple = icmp ne ptr %tuple, null
  br i1 %has_tuple, label %fill, label %drop_ids
fill:
  %object = call ptr @field(ptr %maker, i64 5)
  call void @put_shared(ptr %tuple, i64 0, ptr %object)
  %put = call ptr @python(i64 10)
  %status = call i32 %put(ptr %tuple, i64 1, ptr %ids)
  call void @put_shared(ptr %tuple, i64 2, ptr %text)
  %special_number = add i64 %special, 6
  %special_object = call ptr @field(ptr %maker, i64 %special_number)
  call void @put_shared(ptr %tuple, i64 3, ptr %special_object)
  %none = call ptr @field(ptr %maker, i64 8)
  call void @put_shared(ptr %tuple, i64 4, ptr %none)
  %false = call ptr @field(ptr %maker, i64 9)
  call void @put_shared(ptr %tuple, i64 5, ptr %false)
  %kind = call ptr @field(ptr %maker, i64 2)
  %allocate = call ptr @field(ptr %maker, i64 3)
  %encoding = call ptr %allocate(ptr %kind, i64 0)
  %has_encoding = icmp ne ptr %encoding, null
  %release = call ptr @python(i64 8)
  br i1 %has_encoding, label %set, label %drop_tuple
set:
  %name = call ptr @field(ptr %maker, i64 4)
  %set_attribute = call ptr @python(i64 11)
  %failed = call i32 %set_attribute(ptr %encoding, ptr %name, ptr %tuple)
  call void %release(ptr %tuple)
  %is_set = icmp eq i32 %failed, 0
  br i1 %is_set, label %done, label %drop_encoding
done:
  ret ptr %encoding
drop_encoding:
  call void %release(ptr %encoding)
  ret ptr null
drop_tuple:
  call void %release(ptr %tuple)
  ret ptr null
drop_ids:
  %release_ids = call ptr @python(i64 8)
  call void %release_ids(ptr %ids)
  ret ptr null
}

define ptr @gputok_encode_one(ptr %self, ptr %arguments, i64 %count) {
  %address = call i64 @argument(ptr %arguments, i64 0)
  %special = call i64 @argument(ptr %arguments, i64 2)
  %maker = inttoptr i64 %address to ptr
  %text_at = getelementptr ptr, ptr %arguments, i64 1
  %text = load ptr, ptr %text_at
  %found = call ptr @encoding_of(ptr %maker, ptr %text, i64 %special)
  ret ptr %found
}

define ptr @gputok_claim(ptr %self, ptr %arguments, i64 %count) {
  %address = call i64 @argument(ptr %arguments, i64 0)
  %maker = inttoptr i64 %address to ptr
  %busy = atomicrmw xchg ptr %maker, i64 1 acquire
  %number = call ptr @python(i64 5)
  %answer = call ptr %number(i64 %busy)
  ret ptr %answer
}

define ptr @gputok_encode_each(ptr %self, ptr %arguments, i64 %count) {
  %address = call i64 @argument(ptr %arguments, i64 0)
  %n = call i64 @argument(ptr %arguments, i64 2)
  %special = call i64 @argument(ptr %arguments, i64 3)
  %maker = inttoptr i64 %address to ptr
  %texts_at = getelementptr ptr, ptr %arguments, i64 1
  %texts = load ptr, ptr %texts_at
  %make = call ptr @python(i64 1)
  %put = call ptr @python(i64 2)
  %get = call ptr @python(i64 12)
  %list = call ptr %make(i64 %n)
  %made = icmp ne ptr %list, null
  br i1 %made, label %test, label %none
test:
  %i = phi i64 [ 0, %0 ], [ %next, %store ]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %encode, label %done
encode:
  %text = call ptr %get(ptr %texts, i64 %i)
  %is_there = icmp ne ptr %text, null
  br i1 %is_there, label %with_text, label %drop
with_text:
  %found = call ptr @encoding_of(ptr %maker, ptr %text, i64 %special)
  %got = icmp ne ptr %found, null
  br i1 %got, label %store, label %drop
store:
  %status = call i32 %put(ptr %list, i64 %i, ptr %found)
  %next = add i64 %i, 1
  br label %test
done:
  ret ptr %list
drop:
  %release = call ptr @python(i64 8)
  call void %release(ptr %list)
  ret ptr null
none:
  ret ptr null
}
