// A table of distinct words with open addressing.
//
// The key of a slot is one 64-bit word: the place of a word's bytes (32 bits) and their number (32 bits). A thread claims a
// slot by one compare-and-swap, which also publishes the key. Threads compare bytes before they say that two words are equal.
// The tag of a slot is written after its key. It only spares comparing bytes that can't be equal (0: not written yet). Equal
// words have equal lengths, so atomicMin of their keys keeps the word that comes first. So the result does not depend on
// the order of threads.
//
// A place below IN_BATCH is in the arena, in units of eight bytes. The arena has the words of earlier batches, in the order of
// their first occurrence. A place from IN_BATCH on is in this batch, at the rest. So a word of the arena comes before an equal
// word of the batch.
#pragma once
#include "common.cuh"

const u64 FREE = ~(u64)0;
const u64 IN_BATCH = (u64)1 << 31;

struct Texts {
  const u8* arena;
  const u8* batch;
};

__device__ inline u64 key_of(i64 begin, i64 end) { return (IN_BATCH | (u64)begin) << 32 | (u64)(end - begin); }
__device__ inline i64 key_length(u64 key) { return (i64)(key & 0xffffffffu); }
__device__ inline const u8* key_text(const Texts& texts, u64 key) {
  u64 place = key >> 32;
  return place & IN_BATCH ? texts.batch + (place & (IN_BATCH - 1)) : texts.arena + place * 8;
}

// Reads text from any place on, eight bytes at a time. The first byte becomes the lowest byte of a number. A GPU needs aligned
// loads, so the aligned words of 8 bytes that contain the text are loaded. No load leaves the memory of the text: an array of
// text begins at a multiple of 8, and the launcher allocates PADDING_BYTES behind its end.
struct Eights {
  const u64* at;
  int shift;  // bits of *at that lie before the text, or that were read already

  // The address is rounded by subtraction. If bits were cleared, the compiler would not know that the memory is global.
  __device__ inline explicit Eights(const u8* text) : at((const u64*)(text - ((u64)text & 7))), shift((int)((u64)text & 7) * 8) {}

  // Returns the next `n` bytes, 1 to 8; higher bytes of the result are 0. After a call with less than 8, no call may follow.
  __device__ inline u64 next(i64 n) {
    u64 value = *at++ >> shift;
    if (shift + n * 8 > 64) value |= *at << (64 - shift);
    return n < 8 ? value & (((u64)1 << n * 8) - 1) : value;
  }
};

__device__ inline u64 mix_eight(u64 hash, u64 eight) {
  hash = (hash ^ eight) * 0x9e3779b97f4a7c15ull;
  return hash ^ hash >> 32;
}

__device__ inline u64 hash_bytes(const u8* text, i64 length) {
  u64 hash = (u64)length * 0xd6e8feb86659fd93ull;
  Eights eights(text);
  for (i64 left = length; left > 0; left -= 8) hash = mix_eight(hash, eights.next(left < 8 ? left : 8));
  hash *= 0xd6e8feb86659fd93ull;
  return hash ^ hash >> 32;
}

__device__ inline u32 tag_of(u64 hash) { return (u32)(hash >> 32) | 1; }

__device__ inline bool same_word(const Texts& texts, u64 a, u64 b) {
  if (key_length(a) != key_length(b)) return false;
  const u8 *x = key_text(texts, a), *y = key_text(texts, b);
  if (x == y) return true;
  Eights left(x), right(y);
  for (i64 rest = key_length(a); rest > 0; rest -= 8) {
    i64 n = rest < 8 ? rest : 8;
    if (left.next(n) != right.next(n)) return false;
  }
  return true;
}

struct Table {
  u64* keys;  // [capacity], a power of two
  u32* tags;  // [capacity]
  i64 capacity;
  u64* used;  // [1]
  u64 limit;  // slots that may be used: half of them
  u32* claimed;    // [limit], slots of new words, or null
  u64* n_claimed;  // [1]
};

const i64 NO_ROOM = -1;

// Returns the slot of a word, and enters the word if the table does not have it. Returns NO_ROOM if the word is new and half of
// the table is used. Some slots are free at any time, so the loop ends.
__device__ inline i64 enter_word(const Table& table, const Texts& texts, u64 key, u64 hash) {
  u32 tag = tag_of(hash);
  i64 slot = (i64)(hash & (u64)(table.capacity - 1));
  while (true) {
    u64 there = load_shared_word(&table.keys[slot]);
    if (there == FREE) {
      if (atomicAdd(table.used, (u64)1) >= table.limit) {
        atomicAdd(table.used, ~(u64)0);
        return NO_ROOM;
      }
      there = atomicCAS(&table.keys[slot], FREE, key);
      if (there == FREE) {
        atomicExch(&table.tags[slot], tag);
        if (table.claimed) table.claimed[atomicAdd(table.n_claimed, (u64)1)] = (u32)slot;
        return slot;
      }
      atomicAdd(table.used, ~(u64)0);
    }
    u32 hint = load_shared_word(&table.tags[slot]);
    if ((hint == 0 || hint == tag) && same_word(texts, there, key)) {
      if (key < there) atomicMin(&table.keys[slot], key);
      return slot;
    }
    slot = (slot + 1) & (table.capacity - 1);
  }
}
