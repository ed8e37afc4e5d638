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

DEVICE void add_one_to_each(u64* values, i64 n) {
  for (i64 i = global_index(); i < n; i += global_size()) values[i] += 1;
}

// One block of BLOCK threads.
DEVICE void add_sum(const u64* values, i64 n, u64* total, u64* partial) {
  u64 sum = 0;
  for (i64 i = thread_index(); i < n; i += BLOCK) sum += load_shared_word(&values[i]);
  partial[thread_index()] = sum;
  for (i64 half = BLOCK / 2; half; half /= 2) {
    sync_block();
    if (thread_index() < half) partial[thread_index()] += partial[thread_index() + half];
  }
  if (thread_index() == 0) *total += partial[0];
}

// [at most 48 registers, 0 bytes shared]
KERNEL add_one(u64* values, i64 n) { add_one_to_each(values, n); }

// [at most 48 registers, 1024 bytes shared]
KERNEL add_up(const u64* values, i64 n, u64* total) {
  SHARED(u64, partial, BLOCK);
  add_sum(values, n, total, partial);
}

// All threads of all blocks meet, which must be resident together. arrived: u64[1], 0 before the launch.
DEVICE void sync_grid(u64* arrived) {
  sync_block();
  if (thread_index() == 0) {
    fence();
    u64 blocks = (u64)grid_size(), round = atomic_add(arrived, (u64)1) / blocks + 1;
    while (load_shared_word(arrived) < round * blocks) wait_briefly();
    fence();
  }
  sync_block();
}

// [at most 64 registers, 1024 bytes shared]
KERNEL take_steps(u64* values, i64 n, u64* total, i64 steps, u64* arrived) {
  SHARED(u64, partial, BLOCK);
  for (i64 step = 0; step < steps; step++) {
    add_one_to_each(values, n);
    sync_grid(arrived);
    if (block_index() == 0) add_sum(values, n, total, partial);
    sync_grid(arrived);
  }
}

// [at most 48 registers, 0 bytes shared]
KERNEL count_at_one_address(u64* counter, i64 times) {
  for (i64 i = 0; i < times; i++) atomic_add(counter, (u64)1);
}

// [at most 48 registers, 0 bytes shared]
KERNEL count_keys(const u32* __restrict__ keys, i64 n, u64* counts) {
  for (i64 i = global_index(); i < n; i += global_size()) atomic_add(&counts[keys[i]], (u64)1);
}

// [at most 48 registers, 8192 bytes shared]
KERNEL count_keys_in_shared_memory(const u32* __restrict__ keys, i64 n, u64* counts) {
  SHARED(u64, hot_keys, HOT);
  SHARED(u64, hot_counts, HOT);
  for (i64 i = thread_index(); i < HOT; i += block_size()) {
    hot_keys[i] = FREE;
    hot_counts[i] = 0;
  }
  sync_block();
  for (i64 i = global_index(); i < n; i += global_size()) {
    u64 key = keys[i], there = load_shared_word(&hot_keys[key % HOT]);
    if (there == FREE) {
      there = atomic_cas(&hot_keys[key % HOT], FREE, key);
      if (there == FREE) there = key;
    }
    atomic_add(there == key ? &hot_counts[key % HOT] : &counts[key], (u64)1);
  }
  sync_block();
  for (i64 i = thread_index(); i < HOT; i += block_size())
    if (hot_keys[i] != FREE) atomic_add(&counts[hot_keys[i]], hot_counts[i]);
}
