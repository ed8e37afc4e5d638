; The level of an x86 processor: 1, 2 (x86-64-v2) or 3 (x86-64-v3), by the bits that the psABI of x86-64 names for each.
; V2_ONE_C, V3_ONE_C and V3_SEVEN_B stand for numbers of `objects.X86_FEATURES`.

define internal { i32, i32, i32, i32 } @cpuid(i32 %leaf) {
  %r = call { i32, i32, i32, i32 }
    asm sideeffect "cpuid", "={ax},={bx},={cx},={dx},0,2,~{dirflag},~{fpsr},~{flags}"(i32 %leaf, i32 0)
  ret { i32, i32, i32, i32 } %r
}
define i32 @gputok_level() {
  %one = call { i32, i32, i32, i32 } @cpuid(i32 1)
  %one_c = extractvalue { i32, i32, i32, i32 } %one, 2
  %more = call { i32, i32, i32, i32 } @cpuid(i32 -2147483647)
  %more_c = extractvalue { i32, i32, i32, i32 } %more, 2
  %two = and i32 %one_c, V2_ONE_C
  %two_ok = icmp eq i32 %two, V2_ONE_C
  %lahf = and i32 %more_c, 1
  %lahf_ok = icmp eq i32 %lahf, 1
  %is_two = and i1 %two_ok, %lahf_ok
  br i1 %is_two, label %second, label %none
second:
  %three = and i32 %one_c, V3_ONE_C
  %three_ok = icmp eq i32 %three, V3_ONE_C
  %lzcnt = and i32 %more_c, 32
  %lzcnt_ok = icmp eq i32 %lzcnt, 32
  %zero = call { i32, i32, i32, i32 } @cpuid(i32 0)
  %zero_a = extractvalue { i32, i32, i32, i32 } %zero, 0
  %has_seven = icmp uge i32 %zero_a, 7
  %a = and i1 %three_ok, %lzcnt_ok
  %b = and i1 %a, %has_seven
  br i1 %b, label %third, label %v2
third:
  %seven = call { i32, i32, i32, i32 } @cpuid(i32 7)
  %seven_b = extractvalue { i32, i32, i32, i32 } %seven, 1
  %wide = and i32 %seven_b, V3_SEVEN_B
  %wide_ok = icmp eq i32 %wide, V3_SEVEN_B
  br i1 %wide_ok, label %system, label %v2
system:
  %kept = call { i32, i32 } asm sideeffect "xgetbv", "={ax},={dx},{cx},~{dirflag},~{fpsr},~{flags}"(i32 0)
  %kept_a = extractvalue { i32, i32 } %kept, 0
  %both = and i32 %kept_a, 6
  %both_ok = icmp eq i32 %both, 6
  br i1 %both_ok, label %v3, label %v2
v3:
  ret i32 3
v2:
  ret i32 2
none:
  ret i32 1
}
