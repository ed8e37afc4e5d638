// Types, and the intrinsics that the kernels use. Each intrinsic is wrapped once.
//
// A kernel takes 64-bit arguments (pointers and i64), or structs with such fields by value. So every launcher can pass all
// arguments in the same way. If GPUTOK_EMULATE is defined, the emulator of the tests provides these functions, and runs the
// kernels without a GPU.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

#ifdef GPUTOK_EMULATE
#include "emulate.hpp"
#else

#define KERNEL extern "C" __global__ void
#define BOTH __host__ __device__ inline
#define SHARED(type, name, size) __shared__ type name[size]
// A parameter of a kernel that is a struct. The compiler knows that the struct does not change, and that its pointers point to
// global memory.
#define BY_VALUE(type, name) const __grid_constant__ type name

const u32 ALL_LANES = 0xffffffffu;

__device__ inline i64 thread_index() { return threadIdx.x; }
__device__ inline i64 block_index() { return blockIdx.x; }
__device__ inline i64 block_size() { return blockDim.x; }
__device__ inline i64 grid_size() { return gridDim.x; }

__device__ inline void sync_block() { __syncthreads(); }
__device__ inline void sync_warp() { __syncwarp(); }
__device__ inline void fence() { __threadfence(); }
__device__ inline void wait_briefly() { __nanosleep(20); }
__device__ inline u32 warp_ballot(bool value) { return __ballot_sync(ALL_LANES, value); }
__device__ inline u64 warp_shuffle(u64 value, int lane) { return __shfl_sync(ALL_LANES, value, lane); }

__device__ inline u64 atomic_add(u64* at, u64 value) { return atomicAdd(at, value); }
__device__ inline u32 atomic_add(u32* at, u32 value) { return atomicAdd(at, value); }
__device__ inline u64 atomic_min(u64* at, u64 value) { return atomicMin(at, value); }
__device__ inline u32 atomic_min(u32* at, u32 value) { return atomicMin(at, value); }
__device__ inline u64 atomic_max(u64* at, u64 value) { return atomicMax(at, value); }
__device__ inline u32 atomic_or(u32* at, u32 value) { return atomicOr(at, value); }
__device__ inline u64 atomic_cas(u64* at, u64 expected, u64 value) { return atomicCAS(at, expected, value); }
__device__ inline u32 atomic_cas(u32* at, u32 expected, u32 value) { return atomicCAS(at, expected, value); }
__device__ inline u32 atomic_exchange(u32* at, u32 value) { return atomicExch(at, value); }

// Loads a word that other threads may write meanwhile. The compiler takes it neither from a register nor from the read-only
// cache.
__device__ inline u64 load_shared_word(const u64* at) { return *(const volatile u64*)at; }
__device__ inline u32 load_shared_word(const u32* at) { return *(const volatile u32*)at; }

__device__ inline int count_leading_zeros(u64 value) { return __clzll((i64)value); }
__device__ inline int lowest_bit(u32 value) { return __ffs((int)value) - 1; }
__device__ inline int count_bits(u32 value) { return __popc(value); }

#endif

// The index of this thread in the whole launch, and the number of threads in it.
#ifdef GPUTOK_EMULATE
#define DEVICE inline
#else
#define DEVICE __device__ inline
#endif
DEVICE i64 global_index() { return block_index() * block_size() + thread_index(); }
DEVICE i64 global_size() { return grid_size() * block_size(); }

// Returns the smallest value among the lanes of a warp, to all lanes.
DEVICE u64 warp_min(u64 value) {
  for (i64 step = 16; step; step /= 2) {
    u64 other = warp_shuffle(value, (int)((thread_index() + step) % 32));
    value = other < value ? other : value;
  }
  return value;
}
