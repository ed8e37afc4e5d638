// Lists, numbers and counts the bits that are set in an array of words of 32 bits.
//
//   sum_bits    a block takes a tile of TILE words, and counts its bits
//   scan_sums   one block adds up the counts of all tiles before each tile
//   list_bits   a block takes a tile, and writes where its bits are
//   rank_bits   a block takes a tile, and writes for each word how many bits are set before the word
//
// A bit has a 32-bit index, and so has the number of all bits.
#include "common.cuh"

const int BLOCK = 128;
const int EACH = 8;  // words that a thread takes, one after the other
const int TILE = BLOCK * EACH;

// Returns the sum of the values of all earlier threads of the block. total: the sum of all values. in_warp: u32[BLOCK / 32] of
// shared memory.
__device__ inline u32 sum_before(u32 value, u32* in_warp, u32* total) {
  int thread = (int)threadIdx.x, lane = thread % 32;
  u32 sum = value;
  for (int step = 1; step < 32; step *= 2) {
    u32 other = (u32)__shfl_sync(ALL_LANES, sum, lane < step ? lane : lane - step);
    if (lane >= step) sum += other;
  }
  if (lane == 31) in_warp[thread / 32] = sum;
  __syncthreads();
  u32 before = sum - value, all = 0;
  for (int warp = 0; warp < BLOCK / 32; warp++) {
    if (warp < thread / 32) before += in_warp[warp];
    all += in_warp[warp];
  }
  __syncthreads();  // `in_warp` may be written again
  *total = all;
  return before;
}

// Returns the bits that are set in the words of a thread, which begin at `first`.
__device__ inline u32 own_bits(const u32* bits, i64 n, i64 first) {
  u32 found = 0;
  for (i64 i = first; i < first + EACH && i < n; i++) found += (u32)__popc(bits[i]);
  return found;
}

// sums[i] = the number of bits in the tile i. bits: u32[n].
// [at most 48 registers, 16 bytes shared]
extern "C" __global__ void sum_bits(const u32* __restrict__ bits, i64 n, u32* __restrict__ sums) {
  __shared__ u32 in_warp[BLOCK / 32];
  for (i64 tile = blockIdx.x; tile * TILE < n; tile += gridDim.x) {
    u32 total;
    sum_before(own_bits(bits, n, tile * TILE + threadIdx.x * EACH), in_warp, &total);
    if (threadIdx.x == 0) sums[tile] = total;
  }
}

// Replaces sums[i] by the sum of all elements before it, for i <= n. sums: u32[n + 1]. One block.
// [at most 48 registers, 16 bytes shared]
extern "C" __global__ void scan_sums(u32* sums, i64 n) {
  __shared__ u32 in_warp[BLOCK / 32];
  u32 before = 0;
  for (i64 first = 0; first <= n; first += BLOCK) {
    i64 i = first + threadIdx.x;
    u32 total, own = sum_before(i < n ? sums[i] : 0, in_warp, &total);
    if (i <= n) sums[i] = before + own;
    before += total;
  }
}

// Writes where bits are to `starts`, in order. sums: of scan_sums.
// [at most 48 registers, 16 bytes shared]
extern "C" __global__ void list_bits(const u32* __restrict__ bits, i64 n, const u32* __restrict__ sums, u32* __restrict__ starts) {
  __shared__ u32 in_warp[BLOCK / 32];
  for (i64 tile = blockIdx.x; tile * TILE < n; tile += gridDim.x) {
    i64 first = tile * TILE + threadIdx.x * EACH;
    u32 total, at = sums[tile] + sum_before(own_bits(bits, n, first), in_warp, &total);
    for (i64 i = first; i < first + EACH && i < n; i++)
      for (u32 rest = bits[i]; rest; rest &= rest - 1) starts[at++] = (u32)i * 32 + (u32)(__ffs((int)rest) - 1);
  }
}

// ranks[i] = the number of bits before the word i. sums: of scan_sums.
// [at most 64 registers, 16 bytes shared]
extern "C" __global__ void rank_bits(const u32* __restrict__ bits, i64 n, const u32* __restrict__ sums, u32* __restrict__ ranks) {
  __shared__ u32 in_warp[BLOCK / 32];
  for (i64 tile = blockIdx.x; tile * TILE < n; tile += gridDim.x) {
    i64 first = tile * TILE + threadIdx.x * EACH;
    u32 total, at = sums[tile] + sum_before(own_bits(bits, n, first), in_warp, &total);
    for (i64 i = first; i < first + EACH && i < n; i++) {
      ranks[i] = at;
      at += (u32)__popc(bits[i]);
    }
  }
}
