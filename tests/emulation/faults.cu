// Kernels with planted faults, and the right ones beside them: what the emulator must catch, and must not.
#include "common.cuh"

// Sums a block's values through shared memory.
template <bool BARRIER>
DEVICE void sum_block(const u64* values, u64* sums) {
  SHARED(u64, partial, 64);
  i64 t = thread_index();
  partial[t] = values[block_index() * 64 + t];
  if (BARRIER) sync_block();
  if (t == 0) {
    u64 sum = 0;
    for (int i = 0; i < 64; i++) sum += partial[i];
    sums[block_index()] = sum;
  }
}
KERNEL sum_blocks(const u64* values, u64* sums) { sum_block<true>(values, sums); }
KERNEL missing_barrier(const u64* values, u64* sums) { sum_block<false>(values, sums); }

// Passes values on through shared memory, twice: a thread that is late at the second barrier may have been overtaken.
template <bool BARRIER>
DEVICE void pass_on_twice(const u64* values, u64* sums) {
  SHARED(u64, passed, 64);
  i64 t = thread_index();
  u64 value = values[global_index()];
  for (int round = 0; round < 2; round++) {
    passed[t] = value;
    sync_block();
    value = passed[(t + 1) % 64];
    if (BARRIER) sync_block();
  }
  atomic_add(&sums[block_index()], value);
}
KERNEL pass_on(const u64* values, u64* sums) { pass_on_twice<true>(values, sums); }
KERNEL one_barrier_too_few(const u64* values, u64* sums) { pass_on_twice<false>(values, sums); }

// Counts values by their lowest bit.
KERNEL count_parity(const u64* values, u64* counts) { atomic_add(&counts[values[global_index()] & 1], (u64)1); }
KERNEL lost_update(const u64* values, u64* counts) { counts[values[global_index()] & 1] += 1; }

KERNEL read_past_the_end(const u64* values, u64* sums, i64 n) {
  if (global_index() <= n) atomic_add(sums, values[global_index()]);
}

KERNEL half_a_barrier(const u64* values, u64* sums) {
  if (thread_index() < 32) sync_block();
  if (thread_index() == 0) sums[block_index()] = values[0];
}

KERNEL waits_forever(const u64* values, u64* sums) {
  if (values[0] == 0) sync_warp();
  if (thread_index() % 2) warp_ballot(true);
  sums[0] = 1;
}

KERNEL warp_sum(const u64* values, u64* sums) {
  u64 value = values[global_index()];
  for (int offset = 16; offset; offset /= 2) value += warp_shuffle(value, (int)((thread_index() + offset) % 32));
  if (thread_index() % 32 == 0) atomic_add(sums, value);
}

// Half of a warp meets at one line, half at another: on hardware nothing says what comes of it.
KERNEL meet_at_two_lines(const u64* values, u64* sums) {
  u64 value = values[global_index()];
  if (thread_index() % 2)
    value = warp_shuffle(value, 0);
  else
    value = warp_shuffle(value, 1);
  atomic_add(sums, value);
}

KERNEL meet_without_some(const u64* values, u64* sums) {
  if (thread_index() % 32 == 5) return;
  if (warp_ballot(values[0] == 0)) atomic_add(sums, (u64)1);
}

KERNEL spin_on_a_load(const u64* values, u64* sums) {
  while (load_shared_word(&sums[0]) == 0) {
  }
  sums[1] = values[0];
}

// Thread 0 writes, and raises a flag behind a fence; the last thread sees the flag, has a fence, and reads.
template <int FENCES>
DEVICE void pass_by_flag(u64* sums) {
  if (global_index() == 0) {
    sums[0] = 7;
    if (FENCES & 1) fence();
    atomic_add(&sums[1], (u64)1);
  }
  if (global_index() == 64) {
    while (load_shared_word(&sums[FENCES & 4 ? 2 : 1]) == 0) wait_briefly();
    if (FENCES & 2) fence();
    sums[3] = sums[0];
  }
}
KERNEL pass_behind_fences(const u64* values, u64* sums) { pass_by_flag<3>(sums); }
KERNEL no_fence_before(const u64* values, u64* sums) { pass_by_flag<2>(sums); }
KERNEL no_fence_behind(const u64* values, u64* sums) { pass_by_flag<1>(sums); }

// Two fences, but the flag that is seen was raised by a thread that has none.
KERNEL fences_of_others(const u64* values, u64* sums) {
  if (global_index() == 32) atomic_add(&sums[2], (u64)1);
  pass_by_flag<7>(sums);
}
