// Counting words: one thread a word, open addressing.
//
// A slot's key is one 64-bit word: where its bytes stand (32 bits) and their number (32 bits). It is claimed by a single
// compare-and-swap, so that claiming is publishing. Bytes are compared on every match: the tag, written after
// the key, only saves looking at bytes that can't be the same (0 = not yet written). Equal words have equal lengths, so
// atomic_min on the key keeps the earliest of them, and the result does not depend on the order of threads.
//
// Where a word stands: below ARENA_LIMIT it is in the arena, at eight times that (words of earlier batches, laid out in
// order of first occurrence); above, it is in this batch, at the rest. So the arena's word is kept over a batch's.
#include "common.cuh"

const u64 FREE = ~(u64)0;
const u64 IN_BATCH = (u64)1 << 31;
const int HOT = 512;  // slots of a block's own table of frequent words

struct Texts {
  const u8* arena;
  const u8* batch;
};

BOTH u64 key_of(i64 begin, i64 end) { return (IN_BATCH | (u64)begin) << 32 | (u64)(end - begin); }
BOTH i64 key_length(u64 key) { return (i64)(key & 0xffffffffu); }
BOTH const u8* key_text(const Texts& texts, u64 key) {
  u64 place = key >> 32;
  return place & IN_BATCH ? texts.batch + (place & (IN_BATCH - 1)) : texts.arena + place * 8;
}

BOTH u64 hash_bytes(const u8* text, i64 length) {
  u64 hash = 0x9e3779b97f4a7c15ull ^ (u64)length;
  for (i64 i = 0; i < length; i++) hash = (hash ^ text[i]) * 0x100000001b3ull;
  hash ^= hash >> 32;
  hash *= 0xd6e8feb86659fd93ull;
  return hash ^ hash >> 32;
}

BOTH u32 tag_of(u64 hash) { return (u32)(hash >> 32) | 1; }

BOTH bool same_word(const Texts& texts, u64 a, u64 b) {
  if (key_length(a) != key_length(b)) return false;
  const u8 *x = key_text(texts, a), *y = key_text(texts, b);
  if (x == y) return true;
  for (i64 i = 0; i < key_length(a); i++)
    if (x[i] != y[i]) return false;
  return true;
}

struct Table {
  u64* keys;    // [capacity], a power of two
  u64* counts;  // [capacity]
  u32* tags;    // [capacity]
  i64 capacity;
  u64* used;  // [1]
  u64 limit;  // slots that may be used: half of them
};

// Adds to a word's count; false if it is new and there is no room.
DEVICE bool add_word(const Table& table, const Texts& texts, u64 key, u64 hash, u64 count) {
  u32 tag = tag_of(hash);
  i64 slot = (i64)(hash & (u64)(table.capacity - 1));
  while (true) {
    u64 there = load_shared_word(&table.keys[slot]);
    if (there == FREE) {
      if (atomic_add(table.used, (u64)1) >= table.limit) {
        atomic_add(table.used, ~(u64)0);
        return false;
      }
      there = atomic_cas(&table.keys[slot], FREE, key);
      if (there == FREE) {
        atomic_exchange(&table.tags[slot], tag);
        atomic_add(&table.counts[slot], count);
        return true;
      }
      atomic_add(table.used, ~(u64)0);
    }
    u32 hint = load_shared_word(&table.tags[slot]);
    if ((hint == 0 || hint == tag) && same_word(texts, there, key)) {
      if (key < there) atomic_min(&table.keys[slot], key);
      atomic_add(&table.counts[slot], count);
      return true;
    }
    slot = (slot + 1) & (table.capacity - 1);
  }
}

// starts[rank[i] + j] = the position of the j-th bit of bits[i].
// [at most 48 registers, 0 bytes shared]
KERNEL list_bits(const u32* __restrict__ bits, i64 n, const i64* __restrict__ rank, u32* __restrict__ starts) {
  for (i64 i = global_index(); i < n; i += global_size()) {
    i64 at = rank[i];
    for (u32 rest = bits[i]; rest; rest &= rest - 1) starts[at++] = (u32)(i * 32 + lowest_bit(rest));
  }
}

// Counts words: batch[starts[w]:starts[w + 1]] once each, or where `starts` is null those of todo, todo_counts times.
// A word for which there is no room goes to over[] with the count that is not in the table yet; n_over is how many.
// [at most 64 registers, 8192 bytes shared]
KERNEL count_words(const u8* arena, const u8* batch, const u32* starts, const u64* todo, const u64* todo_counts, i64 n,
                   u64* keys, u64* counts, u32* tags, i64 capacity, u64* used, u64* over, u64* over_counts,
                   u64* n_over) {
  SHARED(u64, hot_keys, HOT);
  SHARED(u64, hot_counts, HOT);
  Texts texts = {arena, batch};
  Table table = {keys, counts, tags, capacity, used, (u64)capacity / 2};
  for (i64 i = thread_index(); i < HOT; i += block_size()) {
    hot_keys[i] = FREE;
    hot_counts[i] = 0;
  }
  sync_block();
  for (i64 i = global_index(); i < n; i += global_size()) {
    u64 key = starts ? key_of(starts[i], starts[i + 1]) : todo[i];
    u64 count = starts ? 1 : todo_counts[i];
    u64 hash = hash_bytes(key_text(texts, key), key_length(key));
    // A block's own table takes the first word that comes to a slot: frequent words come first.
    i64 slot = (i64)(hash >> 20 & (HOT - 1));
    u64 there = load_shared_word(&hot_keys[slot]);
    if (there == FREE) {
      there = atomic_cas(&hot_keys[slot], FREE, key);
      if (there == FREE) there = key;
    }
    if (same_word(texts, there, key)) {
      atomic_add(&hot_counts[slot], count);
      if (key < there) atomic_min(&hot_keys[slot], key);
    } else if (!add_word(table, texts, key, hash, count)) {
      u64 place = atomic_add(n_over, (u64)1);
      over[place] = key;
      over_counts[place] = count;
    }
  }
  sync_block();
  for (i64 i = thread_index(); i < HOT; i += block_size()) {
    u64 key = hot_keys[i];
    if (key == FREE) continue;
    if (add_word(table, texts, key, hash_bytes(key_text(texts, key), key_length(key)), hot_counts[i])) continue;
    u64 place = atomic_add(n_over, (u64)1);
    over[place] = key;
    over_counts[place] = hot_counts[i];
  }
}

// Moves the words of a batch to the arena: word i, of key from[i] in slot slots[i], goes to to[i] (in eights of bytes).
// [at most 48 registers, 0 bytes shared]
KERNEL keep_words(u8* arena, const u8* batch, const u64* from, const i64* slots, const i64* to, i64 n, u64* keys) {
  for (i64 i = global_index(); i < n; i += global_size()) {
    const u8* text = batch + (from[i] >> 32 & (IN_BATCH - 1));
    i64 length = key_length(from[i]);
    for (i64 j = 0; j < length; j++) arena[to[i] * 8 + j] = text[j];
    keys[slots[i]] = (u64)to[i] << 32 | (u64)length;
  }
}

// data[offsets[i]:offsets[i + 1]] = the bytes of the word of key keys[i], which is in the arena.
// [at most 48 registers, 0 bytes shared]
KERNEL gather_words(const u8* arena, const u64* keys, const i64* offsets, i64 n, u8* data) {
  for (i64 i = global_index(); i < n; i += global_size())
    for (i64 j = 0; j < key_length(keys[i]); j++) data[offsets[i] + j] = arena[(keys[i] >> 32) * 8 + j];
}
