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

// Returns the sum of the values of all earlier threads of a block of THREADS. total: the sum of all values. in_warp: of shared
// memory.
template <int THREADS>
__device__ inline u32 sum_before(u32 value, u32 (&in_warp)[THREADS / 32], u32* total) {
  u32 thread = threadIdx.x, lane = thread % 32, sum = value;
  for (u32 step = 1; step < 32; step *= 2) {
    u32 other = __shfl_sync(ALL_LANES, sum, (int)(lane < step ? lane : lane - step));
    if (lane >= step) sum += other;
  }
  if (lane == 31) in_warp[thread / 32] = sum;
  __syncthreads();
  u32 before = sum - value, all = 0;
  for (u32 warp = 0; warp < THREADS / 32; warp++) {
    if (warp < thread / 32) before += in_warp[warp];
    all += in_warp[warp];
  }
  __syncthreads();  // `in_warp` may be written again
  *total = all;
  return before;
}
