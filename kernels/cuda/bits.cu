// Numbers what is in an array: bits that are set, or the elements of items that follow each other.
//
//   sum_bits       a block takes a tile of TILE words of 32 bits, and counts the bits that are set
//   sum_sizes      a block takes a tile of TILE items, and adds up their sizes
//   scan_sums      one block adds up the sums of all tiles before each tile
//   list_bits      a block takes a tile, and writes the indexes of its bits
//   rank_bits      a block takes a tile, and writes for each word how many bits are set before the word
//   write_offsets  a block takes a tile, and writes for each item how many elements the items before it have
//
// The index of a bit has 32 bits.
#include "common.cuh"

const u32 BLOCK = 128;
const u32 EACH = 8;  // words or items of a thread, one after the other
const u32 TILE = BLOCK * EACH;

struct Bits {
  const u32* bits;   // [n]
  u64* sums;         // [tiles + 1], the bits before each tile, and all of them
  u32* found;        // [room] of list_bits, [n] of rank_bits
  alignas(8) u32 n;
  alignas(8) u32 room;  // more than there are bits
  alignas(8) u32 end;   // list_bits writes it after the last index, up to the end of `found`
};

struct Sizes {
  const u32* sizes;  // [n]
  u64* sums;         // [tiles + 1], the elements before each tile, and all of them
  u32* offsets;      // [n + 1], or null ...
  u64* wide;         // ... if there may be 2^32 elements or more: [n + 1], else null
  alignas(8) u32 n;
};

struct Sums {
  u64* sums;  // [n + 1]
  alignas(8) u32 n;
};

struct InWarps {
  u64 sums[BLOCK / 32];
};

// Four words, in one access.
struct alignas(16) Four {
  u32 at[4];
};

// The words or items of a thread, which follow each other; 0 after the last one.
struct Own {
  u32 at[EACH];
};

// A warp's accesses touch each sector of memory once: eight accesses of four bytes would touch it eight times. Arrays
// begin at multiples of 16 bytes.
__device__ inline Own own_of(const u32* items, u32 n, u32 first) {
  Own own;
  if (first + EACH <= n) {
    for (u32 i = 0; i < EACH; i += 4) {
      Four four = *(const Four*)(items + first + i);
      for (u32 j = 0; j < 4; j++) own.at[i + j] = four.at[j];
    }
  } else {
    for (u32 i = 0; i < EACH; i++) own.at[i] = first + i < n ? items[first + i] : 0;
  }
  return own;
}

__device__ inline void write_own(u32* to, u32 n, u32 first, const Own& own) {
  if (first + EACH <= n) {
    for (u32 i = 0; i < EACH; i += 4)
      *(Four*)(to + first + i) = {{own.at[i], own.at[i + 1], own.at[i + 2], own.at[i + 3]}};
  } else {
    for (u32 i = 0; i < EACH; i++)
      if (first + i < n) to[first + i] = own.at[i];
  }
}

__device__ inline u64 bits_of(const Own& own) {
  u32 found = 0;
  for (u32 i = 0; i < EACH; i++) found += (u32)__popc(own.at[i]);
  return found;
}

__device__ inline u64 sum_of(const Own& own) {
  u64 sum = 0;
  for (u32 i = 0; i < EACH; i++) sum += own.at[i];
  return sum;
}

__device__ inline u32 n_tiles(u32 n) { return n / TILE + (n % TILE != 0); }

// [at most 64 registers, 32 bytes shared]
extern "C" __global__ void sum_bits(const __grid_constant__ Bits b) {
  __shared__ InWarps in_warps;
  for (u32 tile = blockIdx.x; tile < n_tiles(b.n); tile += gridDim.x) {
    u64 total;
    sum_before<BLOCK>(bits_of(own_of(b.bits, b.n, tile * TILE + threadIdx.x * EACH)), in_warps.sums, &total);
    if (threadIdx.x == 0) b.sums[tile] = total;
  }
}

// [at most 64 registers, 32 bytes shared]
extern "C" __global__ void sum_sizes(const __grid_constant__ Sizes s) {
  __shared__ InWarps in_warps;
  for (u32 tile = blockIdx.x; tile < n_tiles(s.n); tile += gridDim.x) {
    u64 total;
    sum_before<BLOCK>(sum_of(own_of(s.sizes, s.n, tile * TILE + threadIdx.x * EACH)), in_warps.sums, &total);
    if (threadIdx.x == 0) s.sums[tile] = total;
  }
}

// Replaces sums[i] by the sum of all elements before it, for i <= n. One block.
// [at most 64 registers, 32 bytes shared]
extern "C" __global__ void scan_sums(const __grid_constant__ Sums s) {
  __shared__ InWarps in_warps;
  u64 before = 0;
  for (u32 first = 0; first <= s.n; first += BLOCK) {
    u32 i = first + threadIdx.x;
    u64 total, own = sum_before<BLOCK>(i < s.n ? s.sums[i] : (u64)0, in_warps.sums, &total);
    if (i <= s.n) s.sums[i] = before + own;
    before += total;
  }
}

// Writes the indexes of bits to `found`, in order, and then `end` to what is left.
// [at most 64 registers, 32 bytes shared]
extern "C" __global__ void list_bits(const __grid_constant__ Bits b) {
  __shared__ InWarps in_warps;
  for (u32 tile = blockIdx.x; tile < n_tiles(b.n); tile += gridDim.x) {
    u32 first = tile * TILE + threadIdx.x * EACH;
    Own own = own_of(b.bits, b.n, first);
    u64 total;
    u32 at = (u32)(b.sums[tile] + sum_before<BLOCK>(bits_of(own), in_warps.sums, &total));
    for (u32 i = 0; i < EACH; i++)
      for (u32 rest = own.at[i]; rest; rest &= rest - 1) b.found[at++] = (first + i) * 32 + (u32)__ffs((int)rest) - 1;
  }
  for (u32 i = (u32)b.sums[n_tiles(b.n)] + global_index(); i < b.room; i += global_size()) b.found[i] = b.end;
}

// found[i] = the number of bits before the word i.
// [at most 64 registers, 32 bytes shared]
extern "C" __global__ void rank_bits(const __grid_constant__ Bits b) {
  __shared__ InWarps in_warps;
  for (u32 tile = blockIdx.x; tile < n_tiles(b.n); tile += gridDim.x) {
    u32 first = tile * TILE + threadIdx.x * EACH;
    Own own = own_of(b.bits, b.n, first), ranks;
    u64 total;
    u32 at = (u32)(b.sums[tile] + sum_before<BLOCK>(bits_of(own), in_warps.sums, &total));
    for (u32 i = 0; i < EACH; i++) {
      ranks.at[i] = at;
      at += (u32)__popc(own.at[i]);
    }
    write_own(b.found, b.n, first, ranks);
  }
}

// [at most 64 registers, 32 bytes shared]
extern "C" __global__ void write_offsets(const __grid_constant__ Sizes s) {
  __shared__ InWarps in_warps;
  for (u32 tile = blockIdx.x; tile < n_tiles(s.n); tile += gridDim.x) {
    u32 first = tile * TILE + threadIdx.x * EACH;
    Own own = own_of(s.sizes, s.n, first), offsets;
    u64 total, at = s.sums[tile] + sum_before<BLOCK>(sum_of(own), in_warps.sums, &total);
    for (u32 i = 0; i < EACH; i++) {
      if (s.wide && first + i < s.n) s.wide[first + i] = at;
      offsets.at[i] = (u32)at;
      at += own.at[i];
    }
    if (!s.wide) write_own(s.offsets, s.n, first, offsets);
  }
  if (global_index() != 0) return;
  if (s.wide)
    s.wide[s.n] = s.sums[n_tiles(s.n)];
  else
    s.offsets[s.n] = (u32)s.sums[n_tiles(s.n)];
}
