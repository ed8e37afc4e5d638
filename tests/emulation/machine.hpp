// What the C++ of PTX (translate.py) is made of: threads, memory, and instructions that C++ lacks. See machine.cpp.
//
// A register is an unsigned variable. Code is compiled with -fwrapv: signed numbers wrap around.
#pragma once
#include <cstdint>
#include <cstring>
#include <vector>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;
typedef unsigned __int128 u128;
typedef __int128 s128;
typedef struct { u32 at[2]; } u32x2;
typedef struct { u32 at[4]; } u32x4;
typedef struct { u64 at[2]; } u64x2;

struct Machine;
struct Block;
struct Warp;

// Memory of one kind. A shadow byte of each byte: 1: it belongs to an array; 3: something was written there, too.
struct Area {
  const char* name;
  u8 *bytes, *shadow;
  u64 base, size;
};

struct Thread {
  Machine* machine;
  u32 tid, ntid, ctaid, nctaid;
  s64 budget;   // steps before others may take theirs
  u32* visits;  // how often it came to each part of the code, if that is counted
  Area global, shared, local, param;
  Block* block;
  Warp* warp;

  void visit(u32 part) {
    if (visits) visits[part]++;
  }
  void step() {
    if (--budget < 0) give_way();
  }
  void give_way();
  // `line` is that of the PTX; strong: others may write there at the same time
  template <class T>
  T load(Area& area, u64 at, u32 line, bool strong);
  template <class T>
  void store(Area& area, u64 at, T value, u32 line, bool strong);
  // A step of an atomic operation: loads a number, and stores another one.
  template <class T>
  T* atomic(Area& area, u64 at, u32 line);
  template <class T>
  T exchanged(Area& area, u64 at, T* there, T value);

  void barrier(u32 line);
  void fence();
  // Waits for all lanes of a mask, and returns what each of them gave.
  const u32* meet(u32 line, u32 value, u32 lanes, bool orders = false);
  u32 shuffled(u32 line, u32 value, u32 lane, u32 last, u32 lanes) {
    if (last != 31) fail(line, "a shuffle within a part of a warp");
    if (!(lanes >> (lane & 31) & 1)) fail(line, "a shuffle from a lane that is not in the mask");
    return meet(line, value, lanes)[lane & 31];
  }
  u32 ballot(u32 line, bool value, u32 lanes) {
    const u32* all = meet(line, value, lanes);
    u32 found = 0;
    for (int i = 0; i < 32; i++) found |= (lanes >> i & 1 & all[i]) << i;
    return found;
  }
  template <class T>
  T least(u32 line, T value, u32 lanes) {
    const u32* all = meet(line, (u32)value, lanes);
    for (int i = 0; i < 32; i++)
      if (lanes >> i & 1 && (T)all[i] < value) value = (T)all[i];
    return value;
  }
  void fail(u32 line, const char* what);
};

struct Extent {
  u32 begin, size;
};
struct Entry {
  const char* name;
  void (*run)(Thread&);
  std::vector<Extent> params, shared, local;
  u32 n_visits;
};
extern const std::vector<Entry> ENTRIES;

template <class T, class F>
inline T changed(Thread& c, Area& area, u64 at, u32 line, F change) {
  T* there = c.atomic<T>(area, at, line);
  return c.exchanged<T>(area, at, there, change(*there));
}
// The same, but not atomic: a planted fault (test_mutants.py).
template <class T, class F>
inline T changed_plainly(Thread& c, Area& area, u64 at, u32 line, F change) {
  T old = c.load<T>(area, at, line, false);
  c.store<T>(area, at, change(old), line, false);
  return old;
}

// -- instructions

template <class T>
T shl(T a, u32 n) {
  return n < sizeof(T) * 8 ? (T)(a << n) : (T)0;
}
template <class T>
T shr(T a, u32 n) {
  const u32 most = sizeof(T) * 8 - 1;
  return n <= most ? (T)(a >> n) : (T)-1 < (T)0 ? (T)(a >> most) : (T)0;
}
template <class T>
T low_bits(u32 n) {
  return n >= sizeof(T) * 8 ? (T)~(T)0 : (T)(((T)1 << n) - 1);
}
template <class T>
T bfi(T a, T b, u32 at, u32 n) {
  T mask = shl(low_bits<T>(n & 255), at & 255);
  return (T)((b & ~mask) | (shl(a, at & 255) & mask));
}
template <class T>
T bfe(T a, u32 at, u32 n) {  // unsigned only
  return (T)(shr(a, at & 255) & low_bits<T>(n & 255));
}
template <class T>
u32 clz(T a) {
  return a ? (u32)(__builtin_clzll((u64)a) - (64 - (int)sizeof(T) * 8)) : (u32)sizeof(T) * 8;
}
template <class T>
u32 bfind(T a, bool shift) {  // unsigned only
  return !a ? ~0u : shift ? clz(a) : (u32)sizeof(T) * 8 - 1 - clz(a);
}
template <class T>
T brev(T a) {
  T found = 0;
  for (u32 i = 0; i < sizeof(T) * 8; i++) found = (T)(found << 1 | (a >> i & 1));
  return found;
}
inline u32 shf_l(u32 low, u32 high, u32 n) { return (u32)(((u64)high << 32 | low) << (n & 31) >> 32); }
inline u32 shf_r(u32 low, u32 high, u32 n) { return (u32)(((u64)high << 32 | low) >> (n & 31)); }
inline u32 prmt(u32 a, u32 b, u32 selector) {
  u64 all = (u64)b << 32 | a;
  u32 found = 0;
  for (int i = 0; i < 4; i++) {
    u32 which = selector >> 4 * i & 15;
    u8 byte = (u8)(all >> 8 * (which & 7));
    found |= (u32)(which & 8 ? (byte & 128 ? 255 : 0) : byte) << 8 * i;
  }
  return found;
}
inline u32 lop3(u32 a, u32 b, u32 c, u32 table) {
  u32 found = 0;
  for (int i = 0; i < 8; i++)
    if (table >> i & 1) found |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
  return found;
}
