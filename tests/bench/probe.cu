// Measures what the design depends on and only hardware tells: the time of a step of two kernels, and of 64-bit atomics.
// `python -m tests.bench device` runs these kernels; no stage runs them.
//
//   add_one, add_up             a step in two launches: all values grow by one, then a block adds their sum to a total
//   take_steps                  the same steps in one launch, with a barrier of the whole grid after each half of a step
//   count_at_one_address        all threads add to the same counter
//   count_keys                  a thread takes a key, and adds to the counter of the key
//   count_keys_in_shared_memory the same, but each block counts frequent keys in a table of its own, as count_words does, and adds
//                               them up at its end
#include "common.cuh"

// A block's own table has so many slots, as in count_words.cu.
const u32 HOT = 512;
const u32 NO_KEY = 0xffffffff;
const u32 BLOCK = 128;

// `Probe` of the launcher.
struct Probe {
  u64* values;      // [n]
  u64* total;       // [1]
  u64* arrived;     // [1], blocks that came to a barrier, in all launches with this number of blocks
  u64* counts;      // [distinct keys]
  const u32* keys;  // [n]
  alignas(8) u32 n;
  alignas(8) u32 times;  // steps, or additions of each thread
};

__device__ inline void add_one_to_each(const Probe& p) {
  for (u32 i = global_index(); i < p.n; i += global_size()) p.values[i] += 1;
}

// One block of BLOCK threads.
__device__ inline void add_sum(const Probe& p, u64* partial) {
  u64 sum = 0;
  for (u32 i = threadIdx.x; i < p.n; i += BLOCK) sum += load_shared_word(&p.values[i]);
  partial[threadIdx.x] = sum;
  for (u32 half = BLOCK / 2; half; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
  }
  if (threadIdx.x == 0) *p.total += partial[0];
}

// [at most 48 registers, 0 bytes shared]
extern "C" __global__ void add_one(const __grid_constant__ Probe p) { add_one_to_each(p); }

// [at most 48 registers, 1024 bytes shared]
extern "C" __global__ void add_up(const __grid_constant__ Probe p) {
  __shared__ u64 partial[BLOCK];
  add_sum(p, partial);
}

// All threads of all blocks meet, which must be resident together.
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
extern "C" __global__ void take_steps(const __grid_constant__ Probe p) {
  __shared__ u64 partial[BLOCK];
  for (u32 step = 0; step < p.times; step++) {
    add_one_to_each(p);
    sync_grid(p.arrived);
    if (blockIdx.x == 0) add_sum(p, partial);
    sync_grid(p.arrived);
  }
}

// [at most 48 registers, 0 bytes shared]
extern "C" __global__ void count_at_one_address(const __grid_constant__ Probe p) {
  for (u32 i = 0; i < p.times; i++) atomicAdd(p.counts, (u64)1);
}

// [at most 48 registers, 0 bytes shared]
extern "C" __global__ void count_keys(const __grid_constant__ Probe p) {
  for (u32 i = global_index(); i < p.n; i += global_size()) atomicAdd(&p.counts[p.keys[i]], (u64)1);
}

// [at most 48 registers, 4096 bytes shared]
extern "C" __global__ void count_keys_in_shared_memory(const __grid_constant__ Probe p) {
  __shared__ u32 hot_keys[HOT];
  __shared__ u32 hot_counts[HOT];
  for (u32 i = threadIdx.x; i < HOT; i += blockDim.x) {
    hot_keys[i] = NO_KEY;
    hot_counts[i] = 0;
  }
  __syncthreads();
  for (u32 i = global_index(); i < p.n; i += global_size()) {
    u32 key = p.keys[i], there = load_shared_word(&hot_keys[key % HOT]);
    if (there == NO_KEY) {
      there = atomicCAS(&hot_keys[key % HOT], NO_KEY, key);
      if (there == NO_KEY) there = key;
    }
    if (there == key)
      atomicAdd(&hot_counts[key % HOT], 1u);
    else
      atomicAdd(&p.counts[key], (u64)1);
  }
  __syncthreads();
  for (u32 i = threadIdx.x; i < HOT; i += blockDim.x)
    if (hot_keys[i] != NO_KEY) atomicAdd(&p.counts[hot_keys[i]], (u64)hot_counts[i]);
}
