// Types and functions that all kernels use.
//
// All launchers pass arguments in the same way: 64 bits for each, pointers and i64, or structs of such fields by value. A struct is
// `const __grid_constant__`: the compiler knows that it does not change, and that its pointers point to global memory.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

const u32 ALL_LANES = 0xffffffffu;

// The index of this thread in the whole launch, and the number of threads in it, which is less than 2^31.
__device__ inline u32 global_index() { return blockIdx.x * blockDim.x + threadIdx.x; }
__device__ inline u32 global_size() { return gridDim.x * blockDim.x; }

// Loads a word that other threads may write meanwhile. The compiler takes it neither from a register nor from the read-only
// cache.
template <class T>
__device__ inline T load_shared_word(const T* at) {
  return *(const volatile T*)at;
}

// Returns the smallest value among the lanes of a warp, to all lanes.
template <class T>
__device__ inline T warp_min(T value) {
  for (u32 step = 16; step; step /= 2) {
    T other = __shfl_sync(ALL_LANES, value, (int)((threadIdx.x + step) % 32));
    value = other < value ? other : value;
  }
  return value;
}
