// Measures what the design depends on and only hardware tells: the time of a step of two kernels, and of 64-bit atomics.
// `gputok bench device` runs these kernels; no stage runs them.
//
//   add_one, add_up             a step in two launches: all values grow by one, then a block adds their sum to a total
//   take_steps                  the same steps in one launch, with a barrier of the whole grid after each half of a step
//   count_at_one_address        all threads add to the same counter
//   count_keys                  a thread takes a key, and adds to the counter of the key
//   count_keys_in_shared_memory the same, but each block counts frequent keys in a table of its own, and adds them up at its end
#include "common.cuh"

const int HOT = 512;  // slots of a block's own table, as in count_words.cu
const u64 FREE = ~(u64)0;
const int BLOCK = 128;

__device__ inline void add_one_to_each(u64* values, i64 n) {
  for (i64 i = global_index(); i < n; i += global_size()) values[i] += 1;
}

// One block of BLOCK threads.
__device__ inline void add_sum(const u64* values, i64 n, u64* total, u64* partial) {
  u64 sum = 0;
  for (i64 i = threadIdx.x; i < n; i += BLOCK) sum += load_shared_word(&values[i]);
  partial[threadIdx.x] = sum;
  for (i64 half = BLOCK / 2; half; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
  }
  if (threadIdx.x == 0) *total += partial[0];
}

// [at most 48 registers, 0 bytes shared]
extern "C" __global__ void add_one(u64* values, i64 n) { add_one_to_each(values, n); }

// [at most 48 registers, 1024 bytes shared]
extern "C" __global__ void add_up(const u64* values, i64 n, u64* total) {
  __shared__ u64 partial[BLOCK];
  add_sum(values, n, total, partial);
}

// All threads of all blocks meet, which must be resident together. arrived: u64[1], 0 before the launch.
__device__ inline void sync_grid(u64* arrived) {
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    u64 blocks = (u64)gridDim.x, round = atomicAdd(arrived, (u64)1) / blocks + 1;
    while (load_shared_word(arrived) < round * blocks) __nanosleep(20);
    __threadfence();
  }
  __syncthreads();
}

// [at most 64 registers, 1024 bytes shared]
extern "C" __global__ void take_steps(u64* values, i64 n, u64* total, i64 steps, u64* arrived) {
  __shared__ u64 partial[BLOCK];
  for (i64 step = 0; step < steps; step++) {
    add_one_to_each(values, n);
    sync_grid(arrived);
    if (blockIdx.x == 0) add_sum(values, n, total, partial);
    sync_grid(arrived);
  }
}

// [at most 48 registers, 0 bytes shared]
extern "C" __global__ void count_at_one_address(u64* counter, i64 times) {
  for (i64 i = 0; i < times; i++) atomicAdd(counter, (u64)1);
}

// [at most 48 registers, 0 bytes shared]
extern "C" __global__ void count_keys(const u32* __restrict__ keys, i64 n, u64* counts) {
  for (i64 i = global_index(); i < n; i += global_size()) atomicAdd(&counts[keys[i]], (u64)1);
}

// [at most 48 registers, 8192 bytes shared]
extern "C" __global__ void count_keys_in_shared_memory(const u32* __restrict__ keys, i64 n, u64* counts) {
  __shared__ u64 hot_keys[HOT];
  __shared__ u64 hot_counts[HOT];
  for (i64 i = threadIdx.x; i < HOT; i += blockDim.x) {
    hot_keys[i] = FREE;
    hot_counts[i] = 0;
  }
  __syncthreads();
  for (i64 i = global_index(); i < n; i += global_size()) {
    u64 key = keys[i], there = load_shared_word(&hot_keys[key % HOT]);
    if (there == FREE) {
      there = atomicCAS(&hot_keys[key % HOT], FREE, key);
      if (there == FREE) there = key;
    }
    atomicAdd(there == key ? &hot_counts[key % HOT] : &counts[key], (u64)1);
  }
  __syncthreads();
  for (i64 i = threadIdx.x; i < HOT; i += blockDim.x)
    if (hot_keys[i] != FREE) atomicAdd(&counts[hot_keys[i]], hot_counts[i]);
}
