// Pre-tokenizing: where do words begin?
//
// A thread takes a tile of the text. In each tile the first *cut* is found: the beginning of a document, or a place
// between two characters where a word always ends whatever came before, and whose left side gives the same words when
// it is walked alone (a strong class pair of the automaton). Then the thread of a tile with a cut walks the automaton
// from there to the next cut of a later tile. A tile without a cut is walked through by the thread of a tile before: this
// is exact for every automaton, and rare. A run of more than `longest` bytes between two cuts is not walked at all: one
// thread would take seconds for what a CPU does in milliseconds, and the launcher gives the batch to the CPU.
#include "common.cuh"

const u16 DEAD = 0xffff;
const i64 NO_CUT = -1;

// The tables of an automaton (see gputok.kernels.Automaton); `width` is classes + 1, its last class is end of text.
struct Automaton {
  const u8* ascii_class;
  const u16* page;
  const u8* member;
  const u16* delta;
  const u8* accept;
  const u8* strong;
  i64 width;
};

struct Character {
  u32 kind;   // its class
  i64 bytes;  // its length
};

BOTH bool begins_character(u8 byte) { return (byte & 0xc0) != 0x80; }

BOTH Character character_at(const Automaton& automaton, const u8* text, i64 at) {
  u32 lead = text[at];
  if (lead < 0x80) return {automaton.ascii_class[lead], 1};
  i64 bytes = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  u32 point = lead & (0xffu >> (bytes + 1));
  for (i64 i = 1; i < bytes; i++) point = point << 6 | (text[at + i] & 0x3fu);
  return {automaton.member[(i64)automaton.page[point >> 7] * 128 + (point & 127)], bytes};
}

BOTH bool has_bit(const u32* bits, i64 at) { return bits[at >> 5] >> (at & 31) & 1; }

// Where the match that begins at `at` ends; at least one character on. Text ends at `end` or where a document begins.
BOTH i64 match_end(const Automaton& automaton, const u8* text, const u32* documents, i64 at, i64 end) {
  i64 found = at + character_at(automaton, text, at).bytes, begin = at;
  u32 state = 0;
  while (true) {
    bool ended = at >= end || (at > begin && has_bit(documents, at));
    Character next = {(u32)automaton.width - 1, 0};
    if (!ended) next = character_at(automaton, text, at);
    i64 entry = (i64)state * automaton.width + next.kind;
    if (automaton.accept[entry]) found = at;
    state = automaton.delta[entry];
    if (ended || state == DEAD) return found;
    at += next.bytes;
  }
}

// documents: one bit a byte, set where a document begins. offsets: i64[n_documents + 1].
// [at most 48 registers, 0 bytes shared]
KERNEL mark_documents(const i64* __restrict__ offsets, i64 n_documents, i64 n_bytes, u32* __restrict__ documents) {
  for (i64 i = global_index(); i < n_documents; i += global_size())
    if (offsets[i] < n_bytes) atomic_or(&documents[offsets[i] >> 5], 1u << (offsets[i] & 31));
}

// cuts[tile] = the first cut in the tile, or NO_CUT.
// [at most 48 registers, 0 bytes shared]
KERNEL find_cuts(const u8* __restrict__ text, i64 n_bytes, const u32* __restrict__ documents,
                 const u8* __restrict__ ascii_class, const u16* __restrict__ page, const u8* __restrict__ member,
                 const u8* __restrict__ strong, i64 width, i64 tile_bytes, i64* __restrict__ cuts) {
  Automaton automaton = {ascii_class, page, member, nullptr, nullptr, strong, width};
  i64 classes = width - 1;
  for (i64 tile = global_index(); tile * tile_bytes < n_bytes; tile += global_size()) {
    i64 at = tile * tile_bytes, end = at + tile_bytes < n_bytes ? at + tile_bytes : n_bytes, cut = NO_CUT;
    i64 before = at - 1;  // the character before `at`
    while (before >= 0 && !begins_character(text[before])) before--;
    u32 left = before >= 0 ? character_at(automaton, text, before).kind : 0;
    while (at < end && !begins_character(text[at])) at++;
    while (at < end && cut == NO_CUT) {
      Character right = character_at(automaton, text, at);
      if (has_bit(documents, at) || (at > 0 && strong[left * classes + right.kind])) cut = at;
      left = right.kind;
      at += right.bytes;
    }
    cuts[tile] = cut;
  }
}

// words: one bit a byte, set where a word begins. n_too_long: how many runs were left out.
// [at most 64 registers, 0 bytes shared]
KERNEL split_words(const u8* __restrict__ text, i64 n_bytes, const u32* __restrict__ documents,
                   const u8* __restrict__ ascii_class, const u16* __restrict__ page, const u8* __restrict__ member,
                   const u16* __restrict__ delta, const u8* __restrict__ accept, i64 width,
                   const i64* __restrict__ cuts, i64 n_tiles, i64 longest, u32* __restrict__ words,
                   u64* __restrict__ n_too_long) {
  Automaton automaton = {ascii_class, page, member, delta, accept, nullptr, width};
  for (i64 tile = global_index(); tile < n_tiles; tile += global_size()) {
    if (cuts[tile] == NO_CUT) continue;
    i64 next = tile + 1;
    while (next < n_tiles && cuts[next] == NO_CUT) next++;
    i64 at = cuts[tile], end = next < n_tiles ? cuts[next] : n_bytes;
    if (end - at > longest) {
      atomic_add(n_too_long, (u64)1);
      continue;
    }
    u32 bits = 0;
    i64 word = at >> 5;  // of the bit set that `bits` will go to
    while (at < end) {
      if (at >> 5 != word) {
        atomic_or(&words[word], bits);
        bits = 0;
        word = at >> 5;
      }
      bits |= 1u << (at & 31);
      at = match_end(automaton, text, documents, at, end);
    }
    if (bits) atomic_or(&words[word], bits);
  }
}
