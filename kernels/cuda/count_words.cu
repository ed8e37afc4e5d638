// Counting words: one thread a word, in a table of distinct words (table.cuh).
#include "table.cuh"

const int HOT = 512;  // slots of a block's own table of frequent words

// Adds to a word's count; false if it is new and there is no room.
DEVICE bool add_word(const Table& table, const Texts& texts, u64* counts, u64 key, u64 hash, u64 count) {
  i64 slot = enter_word(table, texts, key, hash);
  if (slot == NO_ROOM) return false;
  atomic_add(&counts[slot], count);
  return true;
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
  Table table = {keys, tags, capacity, used, (u64)capacity / 2};
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
    } else if (!add_word(table, texts, counts, key, hash, count)) {
      u64 place = atomic_add(n_over, (u64)1);
      over[place] = key;
      over_counts[place] = count;
    }
  }
  sync_block();
  for (i64 i = thread_index(); i < HOT; i += block_size()) {
    u64 key = hot_keys[i];
    if (key == FREE) continue;
    u64 hash = hash_bytes(key_text(texts, key), key_length(key));
    if (add_word(table, texts, counts, key, hash, hot_counts[i])) continue;
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
