// CUDA's words for a CPU: what common.cuh includes in place of the intrinsics. See emulate.cpp.
//
// Atomics are relaxed, as they are on a GPU, and give way to other threads now and then. Lanes of a warp meet at a line: what
// looks like a function here is a macro.
#pragma once

#define KERNEL extern "C" void
#define BOTH inline
#define BY_VALUE(type, name) const type& name  // the launcher passes the address of a struct
#define SHARED(type, name, size) type* name = (type*)emulate::shared(__LINE__, sizeof(type) * (size))

namespace emulate {
struct Meeting {
  u32 ballot;
  const u64* results;
};
i64 thread();
i64 block();
i64 block_size();
i64 grid_size();
void give_way();
void wait();
void saw(const void* at);
void look(const void* at);
void wrote(const void* at);
void barrier(int line);
Meeting meet(u64 value, bool vote, int line);
void* shared(int place, unsigned long bytes);
void fence();
// Around an atomic that reads and writes.
inline void touched(const void* at) {
  saw(at);
  give_way();
}
}  // namespace emulate

const u32 ALL_LANES = 0xffffffffu;

inline i64 thread_index() { return emulate::thread(); }
inline i64 block_index() { return emulate::block(); }
inline i64 block_size() { return emulate::block_size(); }
inline i64 grid_size() { return emulate::grid_size(); }

#define sync_block() emulate::barrier(__LINE__)
#define sync_warp() emulate::meet(0, false, __LINE__)
inline void fence() { emulate::fence(); }
inline void wait_briefly() { emulate::wait(); }
#define warp_ballot(value) emulate::meet(0, value, __LINE__).ballot
#define warp_shuffle(value, lane) emulate::meet(value, false, __LINE__).results[lane]

template <class T>
inline T atomic_add(T* at, T value) {
  emulate::wrote(at);
  T old = __atomic_fetch_add(at, value, __ATOMIC_RELAXED);
  emulate::touched(at);
  return old;
}
template <class T>
inline T atomic_cas(T* at, T expected, T value) {
  emulate::wrote(at);
  __atomic_compare_exchange_n(at, &expected, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  emulate::touched(at);
  return expected;
}
template <class T>
inline T atomic_min(T* at, T value) {
  emulate::wrote(at);
  T old = __atomic_load_n(at, __ATOMIC_RELAXED);
  if (value < old) __atomic_store_n(at, value, __ATOMIC_RELAXED);
  emulate::touched(at);
  return old;
}
inline u64 atomic_max(u64* at, u64 value) {
  emulate::wrote(at);
  u64 old = __atomic_load_n(at, __ATOMIC_RELAXED);
  if (value > old) __atomic_store_n(at, value, __ATOMIC_RELAXED);
  emulate::touched(at);
  return old;
}
inline u32 atomic_or(u32* at, u32 value) {
  emulate::wrote(at);
  u32 old = __atomic_fetch_or(at, value, __ATOMIC_RELAXED);
  emulate::touched(at);
  return old;
}
inline u32 atomic_exchange(u32* at, u32 value) {
  emulate::wrote(at);
  u32 old = __atomic_exchange_n(at, value, __ATOMIC_RELAXED);
  emulate::touched(at);
  return old;
}
template <class T>
inline T load_shared_word(const T* at) {
  T value = __atomic_load_n(at, __ATOMIC_RELAXED);
  emulate::look(at);
  return value;
}

// The same, but not atomic: planted faults (test_cuda_mutants.py).
namespace plain {
template <class T>
inline T exchange(T* at, T value) {
  T old = *at;
  *at = value;
  return old;
}
template <class T>
inline T add(T* at, T value) {
  return exchange(at, (T)(*at + value));
}
template <class T>
inline T cas(T* at, T expected, T value) {
  return exchange(at, *at == expected ? value : *at);
}
template <class T>
inline T min(T* at, T value) {
  return exchange(at, value < *at ? value : *at);
}
template <class T>
inline T max(T* at, T value) {
  return exchange(at, value > *at ? value : *at);
}
inline u32 either(u32* at, u32 value) { return exchange(at, *at | value); }
template <class T>
inline T load(const T* at) {
  return *at;
}
}  // namespace plain

inline int count_leading_zeros(u64 value) { return value ? __builtin_clzll(value) : 64; }
inline int lowest_bit(u32 value) { return __builtin_ffs((int)value) - 1; }
inline int count_bits(u32 value) { return __builtin_popcount(value); }

