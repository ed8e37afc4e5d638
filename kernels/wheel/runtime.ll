; What all kernels share: the memory of arrays that they return, and a variable (see kernels/cpu/primitives/calls.py).
; A block of memory is a header (`NRT_MemInfo` of Numba) and the elements. The header has a reference count, the
; destructor and what it needs, the address of the elements, their size in bytes, and the allocator.

%header = type { i64, i64, i64, ptr, i64, i64 }
declare ptr @malloc(i64)
declare void @free(ptr)
@gputok_head = global i64 16
@gputok_array = global i64 0
@gputok_known = global i64 0

define noalias ptr @NRT_MemInfo_alloc_aligned(i64 %size, i32 %align) {
  %a = zext i32 %align to i64
  %more = add i64 %a, 47
  %all = add i64 %size, %more
  %fits = icmp uge i64 %all, %size
  br i1 %fits, label %ask, label %none
ask:
  %block = call ptr @malloc(i64 %all)
  %got = icmp ne ptr %block, null
  br i1 %got, label %fill, label %none
none:
  ret ptr null
fill:
  %start = ptrtoint ptr %block to i64
  %after = add i64 %start, %more
  %rest = urem i64 %after, %a
  %first = sub i64 %after, %rest
  %data = inttoptr i64 %first to ptr
  %with_data = insertvalue %header { i64 1, i64 0, i64 0, ptr null, i64 0, i64 0 }, ptr %data, 3
  %all_of_it = insertvalue %header %with_data, i64 %size, 4
  store %header %all_of_it, ptr %block
  ret ptr %block
}

define void @NRT_MemInfo_call_dtor(ptr %block) {
  call void @free(ptr %block)
  ret void
}

define void @gputok_take(i64 %object, ptr %block, ptr %elements, i64 %size) {
  %head = load i64, ptr @gputok_head
  %field = add i64 %object, %head
  %where = inttoptr i64 %field to ptr
  %data = load ptr, ptr %where
  call void @llvm.memcpy.p0.p0.i64(ptr %data, ptr %elements, i64 %size, i1 false)
  call void @gputok_release(ptr %block)
  ret void
}

declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

define void @gputok_release(ptr %block) {
  %before = atomicrmw sub ptr %block, i64 1 acq_rel
  %last = icmp eq i64 %before, 1
  br i1 %last, label %done, label %used
done:
  call void @free(ptr %block)
  br label %used
used:
  ret void
}
