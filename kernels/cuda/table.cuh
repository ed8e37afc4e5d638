// Distinct words in open addressing.
//
// A slot's key is one 64-bit word: where its bytes stand (32 bits) and their number (32 bits). It is claimed by a single
// compare-and-swap, so that claiming is publishing. Bytes are compared on every match: the tag, written after
// the key, only saves looking at bytes that can't be the same (0 = not yet written). Equal words have equal lengths, so
// atomic_min on the key keeps the earliest of them, and the result does not depend on the order of threads.
//
// Where a word stands: below IN_BATCH it is in the arena, at eight times that (words of earlier batches, laid out in
// order of first occurrence); above, it is in this batch, at the rest. So the arena's word is kept over a batch's.
#pragma once
#include "common.cuh"

const u64 FREE = ~(u64)0;
const u64 IN_BATCH = (u64)1 << 31;

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

// Bytes of text, eight at a time from any place on, the first one lowest. Loads are aligned, as a GPU's must be: the
// words of 8 bytes that hold the text are read whole. An array of text begins at a multiple of 8 in memory, and its memory
// goes on for some bytes behind it (`PADDING_BYTES` of the launcher), so that no load leaves it.
struct Eights {
  const u64* at;
  int shift;  // bits of *at that lie before the text, or were read already

  // By subtraction, not by clearing bits: so the compiler still knows that the memory is global.
  BOTH explicit Eights(const u8* text) : at((const u64*)(text - ((u64)text & 7))), shift((int)((u64)text & 7) * 8) {}

  // The next `n` bytes, 1 to 8 of them; the bytes behind them are 0. After fewer than 8 nothing more may be read.
  BOTH u64 next(i64 n) {
    u64 value = *at++ >> shift;
    if (shift + n * 8 > 64) value |= *at << (64 - shift);
    return n < 8 ? value & (((u64)1 << n * 8) - 1) : value;
  }
};

BOTH u64 mix_eight(u64 hash, u64 eight) {
  hash = (hash ^ eight) * 0x9e3779b97f4a7c15ull;
  return hash ^ hash >> 32;
}

BOTH u64 hash_bytes(const u8* text, i64 length) {
  u64 hash = (u64)length * 0xd6e8feb86659fd93ull;
  Eights eights(text);
  for (i64 left = length; left > 0; left -= 8) hash = mix_eight(hash, eights.next(left < 8 ? left : 8));
  hash *= 0xd6e8feb86659fd93ull;
  return hash ^ hash >> 32;
}

BOTH u32 tag_of(u64 hash) { return (u32)(hash >> 32) | 1; }

BOTH bool same_word(const Texts& texts, u64 a, u64 b) {
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

// The slot of a word, new or old; NO_ROOM if it is new and half of the table is used.
DEVICE i64 enter_word(const Table& table, const Texts& texts, u64 key, u64 hash) {
  u32 tag = tag_of(hash);
  i64 slot = (i64)(hash & (u64)(table.capacity - 1));
  while (true) {
    u64 there = load_shared_word(&table.keys[slot]);
    if (there == FREE) {
      if (atomic_add(table.used, (u64)1) >= table.limit) {
        atomic_add(table.used, ~(u64)0);
        return NO_ROOM;
      }
      there = atomic_cas(&table.keys[slot], FREE, key);
      if (there == FREE) {
        atomic_exchange(&table.tags[slot], tag);
        if (table.claimed) table.claimed[atomic_add(table.n_claimed, (u64)1)] = (u32)slot;
        return slot;
      }
      atomic_add(table.used, ~(u64)0);
    }
    u32 hint = load_shared_word(&table.tags[slot]);
    if ((hint == 0 || hint == tag) && same_word(texts, there, key)) {
      if (key < there) atomic_min(&table.keys[slot], key);
      return slot;
    }
    slot = (slot + 1) & (table.capacity - 1);
  }
}
