// Types and functions that all kernels use.
//
// A kernel takes structs by value, and nothing else. A field of a struct has 64 bits: a pointer, or a number, of which
// most have `alignas(8) u32`. The launcher packs a NamedTuple of its name and fields (`Device.launch`). A struct is
// `const __grid_constant__`: the compiler knows that it does not change, and that its pointers point to global memory.
//
// Offsets in text, and the numbers of words, have 32 bits. Blocks consist of whole warps.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

const u32 ALL_LANES = 0xffffffffu;

// The index of this thread in the whole launch, and the number of threads in it, which is less than 2^31. So a loop to
// a number below 2^31 does not overflow 32 bits.
__device__ inline u32 global_index() { return blockIdx.x * blockDim.x + threadIdx.x; }
__device__ inline u32 global_size() { return gridDim.x * blockDim.x; }

// Loads a word that other threads may write meanwhile. The compiler takes it neither from a register nor from the
// read-only cache.
template <class T>
__device__ inline T load_shared_word(const T* at) {
  return *(const volatile T*)at;
}

// Returns the last number from `low` to `high` for which `holds` returns true, or `low`; it holds up to some number.
template <class Holds>
__device__ inline u32 last_of(u32 low, u32 high, Holds holds) {
  while (low < high) {
    u32 middle = low + (high - low + 1) / 2;
    if (holds(middle))
      low = middle;
    else
      high = middle - 1;
  }
  return low;
}

// Returns the smallest value among the lanes of a warp, to all lanes.
__device__ inline u32 warp_min(u32 value) {
#if __CUDA_ARCH__ >= 800
  return __reduce_min_sync(ALL_LANES, value);
#else
  for (u32 step = 16; step; step /= 2) {
    u32 other = __shfl_sync(ALL_LANES, value, (int)((threadIdx.x + step) % 32));
    value = other < value ? other : value;
  }
  return value;
#endif
}

// Returns the sum of the values of this lane and of the lanes before it.
template <class T>
__device__ inline T lane_sum(T value) {
  u32 lane = threadIdx.x % 32;
  for (u32 step = 1; step < 32; step *= 2) {
    T other = __shfl_sync(ALL_LANES, value, (int)(lane < step ? lane : lane - step));
    if (lane >= step) value += other;
  }
  return value;
}

// Takes `size` elements for this lane from a memory of which *used elements are taken, and returns the first. All lanes
// of the warp call this together; a lane that needs nothing has the size 0.
template <class T>
__device__ inline T take(T* used, T size) {
  T sum = lane_sum(size), first = 0;
  if (threadIdx.x % 32 == 31 && sum) first = atomicAdd(used, sum);
  return __shfl_sync(ALL_LANES, first, 31) + sum - size;
}

// Returns the sum of the values of all earlier threads of a block of THREADS. total: the sum of all values. in_warp: of
// shared memory.
template <u32 THREADS, class T>
__device__ inline T sum_before(T value, T (&in_warp)[THREADS / 32], T* total) {
  u32 thread = threadIdx.x;
  T sum = lane_sum(value);
  if (thread % 32 == 31) in_warp[thread / 32] = sum;
  __syncthreads();
  T before = sum - value, all = 0;
  for (u32 warp = 0; warp < THREADS / 32; warp++) {
    if (warp < thread / 32) before += in_warp[warp];
    all += in_warp[warp];
  }
  __syncthreads();  // `in_warp` may be written again
  *total = all;
  return before;
}
