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

struct Sums {
  u32 of[BLOCK / 32];  // warps
};

// Returns the bits that are set in the words of a thread, which begin at `first`.
__device__ inline u32 own_bits(const u32* bits, i64 n, i64 first) {
  u32 found = 0;
  for (i64 i = first; i < first + EACH && i < n; i++) found += (u32)__popc(bits[i]);
  return found;
}

// sums[i] = the number of bits in the tile i. bits: u32[n].
// [at most 64 registers, 16 bytes shared]
extern "C" __global__ void sum_bits(const u32* __restrict__ bits, i64 n, u32* __restrict__ sums) {
  __shared__ Sums in_warp;
  for (i64 tile = blockIdx.x; tile * TILE < n; tile += gridDim.x) {
    u32 total;
    sum_before<BLOCK>(own_bits(bits, n, tile * TILE + threadIdx.x * EACH), in_warp.of, &total);
    if (threadIdx.x == 0) sums[tile] = total;
  }
}

// Replaces sums[i] by the sum of all elements before it, for i <= n. sums: u32[n + 1]. One block.
// [at most 64 registers, 16 bytes shared]
extern "C" __global__ void scan_sums(u32* sums, i64 n) {
  __shared__ Sums in_warp;
  u32 before = 0;
  for (i64 first = 0; first <= n; first += BLOCK) {
    i64 i = first + threadIdx.x;
    u32 total, own = sum_before<BLOCK>(i < n ? sums[i] : 0, in_warp.of, &total);
    if (i <= n) sums[i] = before + own;
    before += total;
  }
}

// Writes where bits are to `starts`, in order. sums: of scan_sums.
// [at most 64 registers, 16 bytes shared]
extern "C" __global__ void list_bits(const u32* __restrict__ bits, i64 n, const u32* __restrict__ sums, u32* __restrict__ starts) {
  __shared__ Sums in_warp;
  for (i64 tile = blockIdx.x; tile * TILE < n; tile += gridDim.x) {
    i64 first = tile * TILE + threadIdx.x * EACH;
    u32 total, at = sums[tile] + sum_before<BLOCK>(own_bits(bits, n, first), in_warp.of, &total);
    for (i64 i = first; i < first + EACH && i < n; i++)
      for (u32 rest = bits[i]; rest; rest &= rest - 1) starts[at++] = (u32)i * 32 + (u32)(__ffs((int)rest) - 1);
  }
}

// ranks[i] = the number of bits before the word i. sums: of scan_sums.
// [at most 64 registers, 16 bytes shared]
extern "C" __global__ void rank_bits(const u32* __restrict__ bits, i64 n, const u32* __restrict__ sums, u32* __restrict__ ranks) {
  __shared__ Sums in_warp;
  for (i64 tile = blockIdx.x; tile * TILE < n; tile += gridDim.x) {
    i64 first = tile * TILE + threadIdx.x * EACH;
    u32 total, at = sums[tile] + sum_before<BLOCK>(own_bits(bits, n, first), in_warp.of, &total);
    for (i64 i = first; i < first + EACH && i < n; i++) {
      ranks[i] = at;
      at += (u32)__popc(bits[i]);
    }
  }
}
