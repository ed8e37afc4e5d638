// A table of distinct words with open addressing.
//
// The key of a slot is one 64-bit word: the offset of a word's bytes (32 bits) and their number (32 bits). A thread
// claims a slot by one compare-and-swap, which also publishes the key. Threads compare bytes before they say that two
// words are equal. The tag of a slot is written after its key. It only spares comparing bytes that can't be equal (0:
// not written yet). Equal words have equal lengths, so atomicMin of their keys keeps the word that comes first. So the
// result does not depend on the order of threads.
//
// An offset below IN_BATCH is in the arena, in units of eight bytes. The arena has the words of earlier batches, in the
// order of their first occurrence. An offset from IN_BATCH on is in this batch, at the rest. So a word of the arena
// comes before an equal word of the batch.
#pragma once
#include "common.cuh"

const u64 FREE = ~(u64)0;
const u32 IN_BATCH = 1u << 31;

struct Texts {
  const u8* arena;
  const u8* batch;
};

__device__ inline u64 key_of(u32 begin, u32 end) { return (u64)(IN_BATCH | begin) << 32 | (end - begin); }
__device__ inline u32 key_length(u64 key) { return (u32)key; }
__device__ inline u32 key_offset(u64 key) { return (u32)(key >> 32) & (IN_BATCH - 1); }
__device__ inline bool key_in_batch(u64 key) { return (u32)(key >> 32) & IN_BATCH; }
__device__ inline const u8* key_text(const Texts& texts, u64 key) {
  return key_in_batch(key) ? texts.batch + key_offset(key) : texts.arena + (u64)key_offset(key) * 8;
}

// Reads text from any byte on, eight bytes at a time. The first byte becomes the lowest byte of a number. A GPU needs
// aligned loads, so the aligned words of 8 bytes that contain the text are loaded. No load leaves the memory of the
// text: an array of text begins at a multiple of 8, and the launcher allocates PADDING_BYTES after its end.
struct Eights {
  const u64* at;
  int shift;  // bits of *at that lie before the text, or that were read already

  // The address is rounded by subtraction. If bits were cleared, the compiler would not know that the memory is global.
  __device__ inline explicit Eights(const u8* text)
      : at((const u64*)(text - ((u64)text & 7))), shift((int)((u64)text & 7) * 8) {}

  // Returns the next `n` bytes, 1 to 8; higher bytes of the result are 0. A call with less than 8 must be the last one.
  __device__ inline u64 next(u32 n) {
    u64 value = *at++ >> shift;
    if ((u32)shift + n * 8 > 64) value |= *at << (64 - shift);
    return n < 8 ? value & (((u64)1 << n * 8) - 1) : value;
  }
};

__device__ inline u64 mix_eight(u64 hash, u64 eight) {
  hash = (hash ^ eight) * 0x9e3779b97f4a7c15ull;
  return hash ^ hash >> 32;
}

__device__ inline u64 hash_bytes(const u8* text, u32 length) {
  u64 hash = (u64)length * 0xd6e8feb86659fd93ull;
  Eights eights(text);
  u32 left = length;
  for (; left > 8; left -= 8) hash = mix_eight(hash, eights.next(8));
  if (left) hash = mix_eight(hash, eights.next(left));
  hash *= 0xd6e8feb86659fd93ull;
  return hash ^ hash >> 32;
}

__device__ inline u32 tag_of(u64 hash) { return (u32)(hash >> 32) | 1; }

__device__ inline bool same_word(const Texts& texts, u64 a, u64 b) {
  if (key_length(a) != key_length(b)) return false;
  const u8 *x = key_text(texts, a), *y = key_text(texts, b);
  if (x == y) return true;
  Eights left(x), right(y);
  u32 rest = key_length(a);
  for (; rest > 8; rest -= 8)
    if (left.next(8) != right.next(8)) return false;
  return rest == 0 || left.next(rest) == right.next(rest);
}

struct Table {
  u64* keys;  // [mask + 1], a power of two, at most 2^31
  u32* tags;  // [mask + 1]
  u32* used;  // [1], slots that are used: at most half of them
  u32 mask;
  u32* claimed;    // [(mask + 1) / 2], slots of words that are new and in the batch, or null
  u32* n_claimed;  // [1]
};

const u32 NO_ROOM = 0xffffffff;

// Returns the slot of a word, and enters the word if the table does not have it. Returns NO_ROOM if the word is new and
// half of the table is used. Some slots are free at any time, so the loop ends.
__device__ inline u32 enter_word(const Table& table, const Texts& texts, u64 key, u64 hash) {
  u32 tag = tag_of(hash), slot = (u32)hash & table.mask;
  while (true) {
    u64 there = load_shared_word(&table.keys[slot]);
    if (there == FREE) {
      if (atomicAdd(table.used, 1u) > table.mask / 2) {
        atomicAdd(table.used, ~0u);
        return NO_ROOM;
      }
      there = atomicCAS(&table.keys[slot], FREE, key);
      if (there == FREE) {
        atomicExch(&table.tags[slot], tag);
        if (table.claimed && key_in_batch(key)) table.claimed[atomicAdd(table.n_claimed, 1u)] = slot;
        return slot;
      }
      atomicAdd(table.used, ~0u);
    }
    u32 hint = load_shared_word(&table.tags[slot]);
    if ((hint == 0 || hint == tag) && same_word(texts, there, key)) {
      if (key < there) atomicMin(&table.keys[slot], key);
      return slot;
    }
    slot = (slot + 1) & table.mask;
  }
}
