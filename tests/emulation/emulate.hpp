// CUDA's words for a CPU, included before each source (emulator.py). See emulate.cpp.
//
// CUDA's keywords are defined away, so that the kernels and common.cuh are compiled as they are. Two things have no like in C++, and
// emulator.py writes a call instead: a declaration of shared memory, and a load of a volatile word.
//
// Atomics are relaxed, as they are on a GPU, and give way to other threads now and then. Lanes of a warp meet at a line: what
// looks like a function here is a macro.
#pragma once

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

#define __global__
#define __device__
#define __grid_constant__

namespace emulate {
struct Meeting {
  u32 ballot;
  const u64* results;
};
struct Index {
  u32 x;
};
Index thread();
Index block();
Index block_size();
Index grid_size();
void give_way();
void wait();
void saw(const void* at);
void look(const void* at);
void wrote(const void* at);
void barrier(int line);
Meeting meet(u64 value, bool vote, int line);
inline u32 least(Meeting all) {
  u64 found = all.results[0];
  for (int lane = 1; lane < 32; lane++) found = all.results[lane] < found ? all.results[lane] : found;
  return (u32)found;
}
void* shared(int number, unsigned long bytes);
void fence();
// Around an atomic that reads and writes.
inline void touched(const void* at) {
  saw(at);
  give_way();
}
template <class T>
inline T exchanged(T* at, T value) {
  wrote(at);
  T old = __atomic_exchange_n(at, value, __ATOMIC_RELAXED);
  touched(at);
  return old;
}
template <class T>
inline T added(T* at, T value) {
  wrote(at);
  T old = __atomic_fetch_add(at, value, __ATOMIC_RELAXED);
  touched(at);
  return old;
}
template <class T>
inline T swapped(T* at, T expected, T value) {
  wrote(at);
  __atomic_compare_exchange_n(at, &expected, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  touched(at);
  return expected;
}
template <class T>
inline T replaced(T* at, T value, bool (*better)(T, T)) {
  wrote(at);
  T old = __atomic_load_n(at, __ATOMIC_RELAXED);
  if (better(value, old)) __atomic_store_n(at, value, __ATOMIC_RELAXED);
  touched(at);
  return old;
}
template <class T>
inline bool less(T a, T b) {
  return a < b;
}
template <class T>
inline bool more(T a, T b) {
  return a > b;
}
template <class T>
inline T load(const T* at) {
  T value = __atomic_load_n(at, __ATOMIC_RELAXED);
  look(at);
  return value;
}
}  // namespace emulate

#define threadIdx emulate::thread()
#define blockIdx emulate::block()
#define blockDim emulate::block_size()
#define gridDim emulate::grid_size()
#define __syncthreads() emulate::barrier(__LINE__)
#define __syncwarp() emulate::meet(0, false, __LINE__)
#define __ballot_sync(lanes, value) emulate::meet(0, value, __LINE__).ballot
#define __shfl_sync(lanes, value, lane) ((decltype(value))emulate::meet((u64)(value), false, __LINE__).results[lane])
#define __reduce_min_sync(lanes, value) emulate::least(emulate::meet((u64)(value), false, __LINE__))
inline void __threadfence() { emulate::fence(); }
inline void __nanosleep(u32) { emulate::wait(); }

inline u32 atomicAdd(u32* at, u32 value) { return emulate::added(at, value); }
inline u64 atomicAdd(u64* at, u64 value) { return emulate::added(at, value); }
inline u32 atomicCAS(u32* at, u32 expected, u32 value) { return emulate::swapped(at, expected, value); }
inline u64 atomicCAS(u64* at, u64 expected, u64 value) { return emulate::swapped(at, expected, value); }
inline u32 atomicMin(u32* at, u32 value) { return emulate::replaced(at, value, emulate::less<u32>); }
inline u64 atomicMin(u64* at, u64 value) { return emulate::replaced(at, value, emulate::less<u64>); }
inline u32 atomicMax(u32* at, u32 value) { return emulate::replaced(at, value, emulate::more<u32>); }
inline u64 atomicMax(u64* at, u64 value) { return emulate::replaced(at, value, emulate::more<u64>); }
inline u32 atomicExch(u32* at, u32 value) { return emulate::exchanged(at, value); }
inline u64 atomicExch(u64* at, u64 value) { return emulate::exchanged(at, value); }
inline u32 atomicOr(u32* at, u32 value) {
  emulate::wrote(at);
  u32 old = __atomic_fetch_or(at, value, __ATOMIC_RELAXED);
  emulate::touched(at);
  return old;
}

// The same, but not atomic: planted faults (test_mutants.py).
namespace plain {
template <class T>
inline T Exch(T* at, T value) {
  T old = *at;
  *at = value;
  return old;
}
template <class T>
inline T Add(T* at, T value) {
  return Exch(at, (T)(*at + value));
}
template <class T>
inline T CAS(T* at, T expected, T value) {
  return Exch(at, *at == expected ? value : *at);
}
template <class T>
inline T Min(T* at, T value) {
  return Exch(at, value < *at ? value : *at);
}
template <class T>
inline T Max(T* at, T value) {
  return Exch(at, value > *at ? value : *at);
}
inline u32 Or(u32* at, u32 value) { return Exch(at, *at | value); }
template <class T>
inline T load(const T* at) {
  return *at;
}
}  // namespace plain

inline int __clzll(i64 value) { return value ? __builtin_clzll((u64)value) : 64; }
inline int __clz(int value) { return value ? __builtin_clz((u32)value) : 32; }
inline int __ffs(int value) { return __builtin_ffs(value); }
inline int __ffsll(i64 value) { return __builtin_ffsll(value); }
inline int __popc(u32 value) { return __builtin_popcount(value); }
inline u32 __funnelshift_r(u32 low, u32 high, u32 shift) { return (u32)(((u64)high << 32 | low) >> (shift & 31)); }
