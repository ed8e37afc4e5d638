// Finds where words begin (pre-tokenization).
//
// A thread takes a tile of the text. First it finds the first *cut* of its tile. A cut is the beginning of a document,
// or a boundary between two characters at which a word ends whatever came before, so that the text on its left has the
// same words if it is walked alone (a strong pair of classes of the automaton). Then the thread of each tile with a cut
// walks the automaton from its cut to the next cut of a later tile. So a tile without a cut, which is rare, is walked
// by the thread of an earlier tile. This is exact for every automaton and every state at the cut: the walk takes the
// cut for an end of text, before which each state accepts exactly if it accepts before the next character, and if it
// does not, the match has ended earlier. A run of more than `longest` bytes between two cuts is not walked: one thread
// would take seconds for what a CPU does in milliseconds. The launcher gives such a run to the CPU.
//
// A step of the walk loads the class of the next byte and one entry of the automaton. Text comes in words of eight
// bytes. The end of the document is found once for each document.
#include "common.cuh"

const u32 DEAD = 0x7fffffff;  // the row of an automaton that no match leaves
const u32 NO_CUT = 0xffffffff;

// Text, and the tables of an automaton. `width` is the number of classes + 1; the last class
// is the end of text. A state is the index of its row in `entries`.
struct Walk {
  const u8* text;         // [n_bytes], and 16 bytes more
  const u32* documents;   // [n_bytes / 32 + 1], a bit for each byte at which a document begins
  const u8* ascii_class;  // [128]
  const u16* page;        // [0x110000 >> 7]
  const u8* member;       // [pages * 128]
  const u32* entries;     // [states * width], the next state << 1 | 1 if a match may end before the character
  const u8* strong;       // [classes * classes]
  alignas(8) u32 n_bytes;  // less than 2^32; at most 2^30 for split_words
  alignas(8) u32 width;
};

// Where the text is cut, and its words.
struct Split {
  u32* cuts;      // [tiles], the first cut in each tile, or NO_CUT
  u32* words;     // [n_bytes / 32 + 1], a bit for each byte at which a word begins
  u64* too_long;  // [1], 0 if all runs were walked, else ~(begin << 32 | length) of the first one that was not
  alignas(8) u32 tile_bytes;
  alignas(8) u32 longest;
};

// Bits to set.
struct Marks {
  const u32* at;  // [n]
  u32* bits;      // a bit for each byte of text
  alignas(8) u32 n;
  alignas(8) u32 n_bytes;
};

struct Character {
  u32 kind;   // class
  u32 bytes;  // length
};

__device__ inline bool begins_character(u8 byte) { return (byte & 0xc0) != 0x80; }

// A character that is not ASCII, and whose first byte is `lead`.
__device__ inline Character long_character(const Walk& w, u32 lead, u32 at) {
  u32 point = (lead & 0x1f) << 6 | (w.text[at + 1] & 0x3fu), bytes = 2;
  if (lead >= 0xe0) {
    point = (point & 0x3ff) << 6 | (w.text[at + 2] & 0x3fu);
    bytes = 3;
    if (lead >= 0xf0) {
      point = (point & 0x7fff) << 6 | (w.text[at + 3] & 0x3fu);
      bytes = 4;
    }
  }
  return {w.member[(u32)w.page[point >> 7] * 128 + (point & 127)], bytes};
}

__device__ inline Character character_at(const Walk& w, u32 at) {
  u32 lead = w.text[at];
  if (lead < 0x80) return {w.ascii_class[lead], 1};
  return long_character(w, lead, at);
}

__device__ inline bool has_bit(const u32* bits, u32 at) { return bits[at >> 5] >> (at & 31) & 1; }

// Returns the first offset after `at` at which a document begins, or `end` if there is none before.
__device__ inline u32 document_end(const Walk& w, u32 at, u32 end) {
  u32 word = (at + 1) >> 5, bits = w.documents[word] & (ALL_LANES << ((at + 1) & 31));
  while (!bits && (word + 1) * 32 < end) bits = w.documents[++word];
  u32 found = word * 32 + (u32)__ffs((int)bits) - 1;
  return bits && found < end ? found : end;
}

// The next bytes of a text. Words of eight bytes that contain it are loaded; PADDING_BYTES are allocated after its end.
struct Window {
  const u64* word;
  u32 low, high;  // the next bytes of *word; the first is the lowest byte of `low`
  u32 left;       // bytes of *word that were not taken yet

  // The address is rounded by subtraction. If bits were cleared, the compiler would not know that the memory is global.
  __device__ inline void move_to(const u8* text) {
    u32 before = (u32)(u64)text & 7;
    word = (const u64*)(text - before);
    take(*word >> before * 8);
    left = 8 - before;
  }
  __device__ inline void take(u64 bytes) {
    low = (u32)bytes;
    high = (u32)(bytes >> 32);
  }
  __device__ inline void next_byte() {
    low = __funnelshift_r(low, high, 8);
    high >>= 8;
    if (--left) return;
    take(*++word);
    left = 8;
  }
};

// Sets the bit at[i] of `bits` if at[i] < n_bytes.
// [at most 48 registers, 0 bytes shared]
extern "C" __global__ void mark_offsets(const __grid_constant__ Marks m) {
  for (u32 i = global_index(); i < m.n; i += global_size())
    if (m.at[i] < m.n_bytes) atomicOr(&m.bits[m.at[i] >> 5], 1u << (m.at[i] & 31));
}

// Returns the first cut in text[at:end], or NO_CUT.
__device__ inline u32 first_cut(const Walk& w, u32 at, u32 end) {
  u32 before = at;  // the character before `at`
  while (before > 0 && !begins_character(w.text[before - 1])) before--;
  u32 left = before > 0 ? character_at(w, before - 1).kind : 0, classes = w.width - 1;
  while (at < end && !begins_character(w.text[at])) at++;
  while (at < end) {
    Character right = character_at(w, at);
    if (has_bit(w.documents, at) || (at > 0 && w.strong[left * classes + right.kind])) return at;
    left = right.kind;
    at += right.bytes;
  }
  return NO_CUT;
}

__device__ inline u32 n_tiles(const Walk& w, const Split& s) {
  return w.n_bytes / s.tile_bytes + (w.n_bytes % s.tile_bytes != 0);
}

__device__ inline u32 tile_end(const Walk& w, const Split& s, u32 begin) {
  return w.n_bytes - begin < s.tile_bytes ? w.n_bytes : begin + s.tile_bytes;
}

// [at most 48 registers, 0 bytes shared]
extern "C" __global__ void find_cuts(const __grid_constant__ Walk w, const __grid_constant__ Split s) {
  for (u32 tile = global_index(); tile < n_tiles(w, s); tile += global_size()) {
    u32 begin = tile * s.tile_bytes;
    s.cuts[tile] = first_cut(w, begin, tile_end(w, s, begin));
  }
}

// Sets the bits of words from `at` to `end`, both of which are cuts.
__device__ inline void walk(const Walk& w, u32 at, u32 end, u32* words) {
  u32 stop = document_end(w, at, end), bits = 0, word = at >> 5;  // of `words`, to which `bits` will go
  Window window;
  window.move_to(w.text + at);
  while (at < end) {
    if (at >> 5 != word) {
      atomicOr(&words[word], bits);
      bits = 0;
      word = at >> 5;
    }
    bits |= 1u << (at & 31);
    if (at == stop) stop = document_end(w, at, end);
    u32 begin = at, found = at, state = 0;
    while (at != stop) {
      u32 lead = window.low & 0xff, entry;
      if (lead < 0x80) {
        entry = w.entries[state + w.ascii_class[lead]];
        if (entry & 1) found = at;
        state = entry >> 1;
        if (state == DEAD) break;
        at++;
        window.next_byte();
      } else {
        Character next = long_character(w, lead, at);
        entry = w.entries[state + next.kind];
        if (entry & 1) found = at;
        state = entry >> 1;
        if (state == DEAD) break;
        at += next.bytes;
        window.move_to(w.text + at);
      }
    }
    if (at == stop && w.entries[state + w.width - 1] & 1) found = at;
    if (found == begin) found += character_at(w, begin).bytes;  // a match has at least one character
    if (found == at) continue;
    at = found;
    window.move_to(w.text + at);
  }
  if (bits) atomicOr(&words[word], bits);
}

// [at most 64 registers, 0 bytes shared]
extern "C" __global__ void split_words(const __grid_constant__ Walk w, const __grid_constant__ Split s) {
  u32 n = n_tiles(w, s);
  for (u32 tile = global_index(); tile < n; tile += global_size()) {
    u32 at = s.cuts[tile], next = tile + 1;
    if (at == NO_CUT) continue;
    while (next < n && s.cuts[next] == NO_CUT) next++;
    u32 end = next < n ? s.cuts[next] : w.n_bytes;
    if (end - at <= s.longest + s.tile_bytes) {
      walk(w, at, end, s.words);
      continue;
    }
    u32 stop = tile_end(w, s, tile * s.tile_bytes);
    for (u32 cut = at; cut != NO_CUT; cut = first_cut(w, cut + 1, stop)) at = cut;  // the last of the tile
    atomicMax(s.too_long, ~((u64)at << 32 | (end - at)));
  }
}
