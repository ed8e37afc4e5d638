// Kernels with planted faults, and the right ones beside them: what the emulator must catch, and must not.
#include "common.cuh"

// `Given` of test_emulator.py.
struct Given {
  const u64* values;
  u64* sums;
  alignas(8) u32 n;  // values
};

// Sums a block's values through shared memory.
template <bool BARRIER>
__device__ inline void sum_block(const u64* values, u64* sums) {
  __shared__ u64 partial[64];
  i64 t = threadIdx.x;
  partial[t] = values[blockIdx.x * 64 + t];
  if (BARRIER) __syncthreads();
  if (t == 0) {
    u64 sum = 0;
    for (int i = 0; i < 64; i++) sum += partial[i];
    sums[blockIdx.x] = sum;
  }
}
extern "C" __global__ void sum_blocks(const __grid_constant__ Given g) { sum_block<true>(g.values, g.sums); }
extern "C" __global__ void missing_barrier(const __grid_constant__ Given g) { sum_block<false>(g.values, g.sums); }

// Passes values on through shared memory, twice: a thread that is late at the second barrier may have been overtaken.
template <bool BARRIER>
__device__ inline void pass_on_twice(const u64* values, u64* sums) {
  __shared__ u64 passed[64];
  i64 t = threadIdx.x;
  u64 value = values[global_index()];
  for (int round = 0; round < 2; round++) {
    passed[t] = value;
    __syncthreads();
    value = passed[(t + 1) % 64];
    if (BARRIER) __syncthreads();
  }
  atomicAdd(&sums[blockIdx.x], value);
}
extern "C" __global__ void pass_on(const __grid_constant__ Given g) { pass_on_twice<true>(g.values, g.sums); }
extern "C" __global__ void one_barrier_too_few(const __grid_constant__ Given g) { pass_on_twice<false>(g.values, g.sums); }

// Counts values by their lowest bit.
extern "C" __global__ void count_parity(const __grid_constant__ Given g) { atomicAdd(&g.sums[g.values[global_index()] & 1], (u64)1); }
extern "C" __global__ void lost_update(const __grid_constant__ Given g) { g.sums[g.values[global_index()] & 1] += 1; }

extern "C" __global__ void read_past_the_end(const __grid_constant__ Given g) {
  if (global_index() <= g.n) atomicAdd(g.sums, g.values[global_index()]);
}

// The last thread reads beyond what all of them wrote.
extern "C" __global__ void read_what_nobody_wrote(const __grid_constant__ Given g) {
  __shared__ u64 passed[128];
  passed[threadIdx.x] = g.values[0];
  __syncthreads();
  g.sums[0] = passed[threadIdx.x + 1];
}

extern "C" __global__ void read_between_words(const __grid_constant__ Given g) {
  g.sums[0] = *(const u64*)((const u8*)g.values + 4);
}

extern "C" __global__ void mask_of_others(const __grid_constant__ Given g) {
  if (threadIdx.x == 1) atomicAdd(g.sums, (u64)__ballot_sync(1, g.values[0] == 0));
}

extern "C" __global__ void two_masks(const __grid_constant__ Given g) {
  atomicAdd(g.sums, (u64)__ballot_sync(threadIdx.x % 2 ? ALL_LANES : 0x55555555, g.values[0] == 0));
}

// A lane writes what another one reads after a shuffle, which orders nothing.
template <bool ORDER>
__device__ inline void pass_in_a_warp(const u64* values, u64* sums) {
  __shared__ u64 passed[64];
  passed[threadIdx.x] = values[global_index()];
  u32 lane = __shfl_sync(ALL_LANES, threadIdx.x, (int)((threadIdx.x + 1) % 32));
  if (ORDER) __syncwarp();
  atomicAdd(&sums[blockIdx.x], passed[lane]);
}
extern "C" __global__ void pass_after_syncwarp(const __grid_constant__ Given g) {
  pass_in_a_warp<true>(g.values, g.sums);
}
extern "C" __global__ void pass_after_a_shuffle(const __grid_constant__ Given g) {
  pass_in_a_warp<false>(g.values, g.sums);
}

// A thread writes on and on, and no other one looks.
extern "C" __global__ void never_ends(const __grid_constant__ Given g) {
  while (load_shared_word(&g.values[0]) == 0) atomicAdd(g.sums, (u64)1);
}

extern "C" __global__ void half_a_barrier(const __grid_constant__ Given g) {
  if (threadIdx.x < 32) __syncthreads();
  if (threadIdx.x == 0) g.sums[blockIdx.x] = g.values[0];
}

extern "C" __global__ void waits_forever(const __grid_constant__ Given g) {
  if (g.values[0] == 0) __syncwarp();
  if (threadIdx.x % 2) __ballot_sync(ALL_LANES, true);
  g.sums[0] = 1;
}

extern "C" __global__ void warp_sum(const __grid_constant__ Given g) {
  u64 value = g.values[global_index()];
  for (int offset = 16; offset; offset /= 2) value += __shfl_sync(ALL_LANES, value, (int)((threadIdx.x + offset) % 32));
  if (threadIdx.x % 32 == 0) atomicAdd(g.sums, value);
}

// Half of a warp meets at one line, half at another: on hardware nothing says what comes of it.
extern "C" __global__ void meet_at_two_lines(const __grid_constant__ Given g) {
  u64 value = g.values[global_index()];
  if (threadIdx.x % 2)
    value = __shfl_sync(ALL_LANES, value, 0);
  else
    value = __shfl_sync(ALL_LANES, value, 1);
  atomicAdd(g.sums, value);
}

extern "C" __global__ void meet_without_some(const __grid_constant__ Given g) {
  if (threadIdx.x % 32 == 5) return;
  if (__ballot_sync(ALL_LANES, g.values[0] == 0)) atomicAdd(g.sums, (u64)1);
}

extern "C" __global__ void spin_on_a_load(const __grid_constant__ Given g) {
  while (load_shared_word(&g.sums[0]) == 0) {
  }
  g.sums[1] = g.values[0];
}

// Thread 0 writes, and raises a flag after a fence; the last thread sees the flag, has a fence, and reads.
template <int FENCES>
__device__ inline void pass_by_flag(u64* sums) {
  if (global_index() == 0) {
    sums[0] = 7;
    if (FENCES & 1) __threadfence();
    atomicAdd(&sums[1], (u64)1);
  }
  if (global_index() == 64) {
    while (load_shared_word(&sums[FENCES & 4 ? 2 : 1]) == 0) __nanosleep(20);
    if (FENCES & 2) __threadfence();
    sums[3] = sums[0];
  }
}
extern "C" __global__ void pass_after_fences(const __grid_constant__ Given g) { pass_by_flag<3>(g.sums); }
extern "C" __global__ void no_fence_before(const __grid_constant__ Given g) { pass_by_flag<2>(g.sums); }
extern "C" __global__ void no_fence_after(const __grid_constant__ Given g) { pass_by_flag<1>(g.sums); }

// Two fences, but the flag that is seen was raised by a thread that has none.
extern "C" __global__ void fences_of_others(const __grid_constant__ Given g) {
  if (global_index() == 32) atomicAdd(&g.sums[2], (u64)1);
  pass_by_flag<7>(g.sums);
}
