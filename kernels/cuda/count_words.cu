// Counts words: a thread takes a word, and counts it in a table of distinct words (table.cuh).
//
//   count_words   counts the words of a batch
//   add_words     adds words with their counts to a larger table
//   mark_words    sets a bit for each word of a table, at the word's offset, so that words can be put in order
//   order_words   puts the words of a table in the order of their offsets, and writes their sizes
//   keep_words    copies the new words of a batch to the arena
//   gather_words  copies words, in order, side by side
#include "table.cuh"

const u32 HOT = 512;  // slots of a block's own table of frequent words
const u32 NO_WORD = 0xffffffffu;  // no index of a word, since a batch has at most 2^30 bytes

// A table of counts, and the words that it gets.
struct Counting {
  const u8* arena;   // words of earlier batches
  const u8* batch;   // text
  u64* keys;         // [mask + 1]
  u64* counts;       // [mask + 1]
  u32* tags;         // [mask + 1]
  u32* used;         // [1]
  u32* claimed;      // [(mask + 1) / 2], slots of words that are new and in the batch
  u32* n_claimed;    // [1]
  u64* over_keys;    // words for which the table has no room ...
  u64* over_counts;  // ... and the count of each that the table does not have
  u32* n_over;       // [1]
  alignas(8) u32 mask;
};

// Words of a batch: batch[starts[i]:starts[i + 1]], i < n.
struct Found {
  const u32* starts;  // [n + 1]
  alignas(8) u32 n;
};

// Words with their counts: of a smaller table, where some keys are FREE, or those for which that table had no room.
struct AddedWords {
  const u64* keys;    // [n]
  const u64* counts;  // [n]
  alignas(8) u32 n;
};

// Words that are put in the order of their offsets: those in the slots `slots`, or in all slots that are not free.
struct Order {
  const u64* keys;     // [slots of the table]
  const u32* slots;    // [n], or null
  u32* bits;           // a bit for each offset, in the batch or in the arena
  const u32* ranks;    // of rank_bits
  u32* order;          // [words], the slot of each word
  u32* sizes;          // [words], the size of each word
  alignas(8) u32 n;    // the length of `slots`, or the number of slots of the table
  alignas(8) u32 unit;  // of the sizes, in bytes
};

// New words of a batch, in order, which are copied to the arena.
struct Kept {
  const u8* batch;
  u8* arena;
  u64* keys;           // [slots of the table]
  const u32* order;    // [n], the slot of each word
  const u32* offsets;  // [n + 1], where each word begins, in units of eight bytes from `begin` on
  i64* first;          // [n], the position at which each word occurs first
  alignas(8) u32 n;
  alignas(8) u32 begin;  // where the new words begin in the arena, in units of eight bytes
  i64 position;          // of the first byte of the batch; byte i has the position `position` + 2 * i
};

// Words of the arena, in order, which are copied side by side.
struct Gathered {
  const u8* arena;
  const u64* keys;       // [slots of the table]
  const u64* counts;     // [slots of the table]
  const u32* order;      // [n], the slot of each word
  const u64* offsets;    // [n + 1]
  u8* data;              // the bytes of all words
  u64* ordered_counts;   // [n]
  alignas(8) u32 n;
};

// Adds `count` to the count of a word; or leaves the word if it is new and the table has no room.
__device__ inline void add_word(const Counting& c, const Texts& texts, u64 key, u64 hash, u64 count) {
  u32 slot = enter_word({c.keys, c.tags, c.used, c.mask, c.claimed, c.n_claimed}, texts, key, hash);
  if (slot != NO_ROOM) {
    atomicAdd(&c.counts[slot], count);
    return;
  }
  u32 at = atomicAdd(c.n_over, 1u);
  c.over_keys[at] = key;
  c.over_counts[at] = count;
}

__device__ inline void count_word(const Counting& c, u64 key, u64 count) {
  Texts texts = {c.arena, c.batch};
  add_word(c, texts, key, hash_bytes(key_text(texts, key), key_length(key)), count);
}

// Each block counts frequent words in a table of its own in shared memory. The counts of that table have 32 bits, since
// the shared memory of a GPU has no 64-bit addition; a block has fewer than 2^31 words. A slot belongs to the first
// word that finds it free, and frequent words come early. Of equal words the slot keeps the first one.
// [at most 64 registers, 4096 bytes shared]
extern "C" __global__ void count_words(const __grid_constant__ Counting c, const __grid_constant__ Found f) {
  __shared__ u32 hot_words[HOT];
  __shared__ u32 hot_counts[HOT];
  Texts texts = {c.arena, c.batch};
  for (u32 i = threadIdx.x; i < HOT; i += blockDim.x) {
    hot_words[i] = NO_WORD;
    hot_counts[i] = 0;
  }
  __syncthreads();
  for (u32 i = global_index(); i < f.n; i += global_size()) {
    u64 key = key_of(f.starts[i], f.starts[i + 1]);
    u64 hash = hash_bytes(key_text(texts, key), key_length(key));
    u32 slot = (u32)(hash >> 20) & (HOT - 1);
    u32 there = load_shared_word(&hot_words[slot]);
    if (there == NO_WORD) {
      there = atomicCAS(&hot_words[slot], NO_WORD, i);
      if (there == NO_WORD) there = i;
    }
    if (same_word(texts, key_of(f.starts[there], f.starts[there + 1]), key)) {
      atomicAdd(&hot_counts[slot], 1u);
      if (i < there) atomicMin(&hot_words[slot], i);
    } else {
      add_word(c, texts, key, hash, 1);
    }
  }
  __syncthreads();
  for (u32 i = threadIdx.x; i < HOT; i += blockDim.x) {
    u32 word = hot_words[i];
    if (word != NO_WORD) count_word(c, key_of(f.starts[word], f.starts[word + 1]), hot_counts[i]);
  }
}

// [at most 64 registers, 0 bytes shared]
extern "C" __global__ void add_words(const __grid_constant__ Counting c, const __grid_constant__ AddedWords a) {
  for (u32 i = global_index(); i < a.n; i += global_size())
    if (a.keys[i] != FREE) count_word(c, a.keys[i], a.counts[i]);
}

// [at most 48 registers, 0 bytes shared]
extern "C" __global__ void mark_words(const __grid_constant__ Order o) {
  for (u32 i = global_index(); i < o.n; i += global_size()) {
    u64 key = o.keys[o.slots ? o.slots[i] : i];
    if (key != FREE) atomicOr(&o.bits[key_offset(key) >> 5], 1u << (key_offset(key) & 31));
  }
}

// [at most 48 registers, 0 bytes shared]
extern "C" __global__ void order_words(const __grid_constant__ Order o) {
  for (u32 i = global_index(); i < o.n; i += global_size()) {
    u32 slot = o.slots ? o.slots[i] : i;
    u64 key = o.keys[slot];
    if (key == FREE) continue;
    u32 word = key_offset(key) >> 5, before = (1u << (key_offset(key) & 31)) - 1;
    u32 rank = o.ranks[word] + (u32)__popc(o.bits[word] & before);
    o.order[rank] = slot;
    o.sizes[rank] = key_length(key) / o.unit + (key_length(key) % o.unit != 0);
  }
}

// [at most 48 registers, 0 bytes shared]
extern "C" __global__ void keep_words(const __grid_constant__ Kept k) {
  for (u32 i = global_index(); i < k.n; i += global_size()) {
    u64 key = k.keys[k.order[i]];
    u32 to = k.begin + k.offsets[i], left = key_length(key);
    Eights eights(k.batch + key_offset(key));
    u64* eight = (u64*)k.arena + to;
    for (; left > 8; left -= 8) *eight++ = eights.next(8);
    if (left) *eight = eights.next(left);
    k.keys[k.order[i]] = (u64)to << 32 | key_length(key);
    k.first[i] = k.position + 2 * (i64)key_offset(key);
  }
}

// [at most 48 registers, 0 bytes shared]
extern "C" __global__ void gather_words(const __grid_constant__ Gathered g) {
  for (u32 i = global_index(); i < g.n; i += global_size()) {
    u64 key = g.keys[g.order[i]];
    const u8* word = g.arena + (u64)key_offset(key) * 8;
    for (u32 j = 0; j < key_length(key); j++) g.data[g.offsets[i] + j] = word[j];
    g.ordered_counts[i] = g.counts[g.order[i]];
  }
}
