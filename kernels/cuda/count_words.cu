// Counts words: a thread takes a word, and counts it in a table of distinct words (table.cuh).
#include "table.cuh"

const u32 HOT = 512;              // slots of a block's own table of frequent words
const u32 NO_WORD = 0xffffffffu;  // no number of a word, since a batch has at most 2^30 bytes

// Adds `count` to the count of a word. Returns false if the word is new and the table has no room.
__device__ inline bool add_word(const Table& table, const Texts& texts, u64* counts, u64 key, u64 hash, u64 count) {
  i64 slot = enter_word(table, texts, key, hash);
  if (slot == NO_ROOM) return false;
  atomicAdd(&counts[slot], count);
  return true;
}

// A table of counts, and the words that it gets (`Counting` of the launcher).
struct Counting {
  const u8* arena;   // words of earlier batches
  const u8* batch;   // text
  u64* keys;         // [capacity]
  u64* counts;       // [capacity]
  u32* tags;         // [capacity]
  u64* used;         // [1]
  u32* claimed;      // [capacity / 2], slots of new words, or null
  u64* n_claimed;    // [1], or null
  u64* over_keys;    // words for which the table has no room ...
  u64* over_counts;  // ... and the count of each that the table does not have
  u64* n_over;       // [1]
  i64 capacity;
};

__device__ inline Table table_of(const Counting& c) {
  return {c.keys, c.tags, c.capacity, c.used, (u64)c.capacity / 2, c.claimed, c.n_claimed};
}

__device__ inline void leave_word(const Counting& c, u64 key, u64 count) {
  u64 place = atomicAdd(c.n_over, (u64)1);
  c.over_keys[place] = key;
  c.over_counts[place] = count;
}

__device__ inline void count_word(const Counting& c, u64 key, u64 count) {
  Texts texts = {c.arena, c.batch};
  u64 hash = hash_bytes(key_text(texts, key), key_length(key));
  if (!add_word(table_of(c), texts, c.counts, key, hash, count)) leave_word(c, key, count);
}

// Counts the words batch[starts[w]:starts[w + 1]], w < n. Each block counts frequent words in a table of its own in shared memory. The counts of
// that table have 32 bits, since the shared memory of a GPU has no 64-bit addition; a block has fewer than 2^31 words. A slot
// belongs to the first word that finds it free, and frequent words come early. Of equal words the slot keeps the first one.
// [at most 64 registers, 4096 bytes shared]
extern "C" __global__ void count_words(const __grid_constant__ Counting c, const u32* starts, i64 n) {
  __shared__ u32 hot_words[HOT];
  __shared__ u32 hot_counts[HOT];
  Texts texts = {c.arena, c.batch};
  Table table = table_of(c);
  for (u32 i = threadIdx.x; i < HOT; i += blockDim.x) {
    hot_words[i] = NO_WORD;
    hot_counts[i] = 0;
  }
  __syncthreads();
  for (i64 i = global_index(); i < n; i += global_size()) {
    u64 key = key_of(starts[i], starts[i + 1]);
    u64 hash = hash_bytes(key_text(texts, key), key_length(key));
    u32 slot = (u32)(hash >> 20) & (HOT - 1);
    u32 there = load_shared_word(&hot_words[slot]);
    if (there == NO_WORD) {
      there = atomicCAS(&hot_words[slot], NO_WORD, (u32)i);
      if (there == NO_WORD) there = (u32)i;
    }
    if (same_word(texts, key_of(starts[there], starts[there + 1]), key)) {
      atomicAdd(&hot_counts[slot], 1u);
      if (i < there) atomicMin(&hot_words[slot], (u32)i);
    } else if (!add_word(table, texts, c.counts, key, hash, 1)) {
      leave_word(c, key, 1);
    }
  }
  __syncthreads();
  for (u32 i = threadIdx.x; i < HOT; i += blockDim.x) {
    u32 word = hot_words[i];
    if (word != NO_WORD) count_word(c, key_of(starts[word], starts[word + 1]), hot_counts[i]);
  }
}

// Adds words with their counts to a table: the words of a smaller table, or those for which that table had no room.
// [at most 64 registers, 0 bytes shared]
extern "C" __global__ void add_words(const __grid_constant__ Counting c, const u64* words, const u64* word_counts, i64 n) {
  for (u32 i = global_index(); i < n; i += global_size()) count_word(c, words[i], word_counts[i]);
}

// Copies the words of a batch to the arena: the word with the key from[i], in the slot slots[i], goes to to[i], which counts in
// units of eight bytes.
// [at most 48 registers, 0 bytes shared]
extern "C" __global__ void keep_words(u8* arena, const u8* batch, const u64* from, const i64* slots, const i64* to, i64 n, u64* keys) {
  for (i64 i = global_index(); i < n; i += global_size()) {
    Eights eights(batch + (from[i] >> 32 & (IN_BATCH - 1)));
    i64 length = key_length(from[i]);
    u64* place = (u64*)arena + to[i];
    for (i64 left = length; left > 0; left -= 8) *place++ = eights.next(left < 8 ? left : 8);
    keys[slots[i]] = (u64)to[i] << 32 | (u64)length;
  }
}

// data[offsets[i]:offsets[i + 1]] = the bytes of the word with the key keys[i], which is in the arena.
// [at most 48 registers, 0 bytes shared]
extern "C" __global__ void gather_words(const u8* arena, const u64* keys, const i64* offsets, i64 n, u8* data) {
  for (i64 i = global_index(); i < n; i += global_size())
    for (i64 j = 0; j < key_length(keys[i]); j++) data[offsets[i] + j] = arena[(keys[i] >> 32) * 8 + j];
}
