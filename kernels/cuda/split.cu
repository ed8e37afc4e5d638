// Finds where words begin (pre-tokenization).
//
// A thread takes a tile of the text. First it finds the first *cut* of its tile. A cut is the beginning of a document, or a
// place between two characters at which a word ends whatever came before, so that the text on its left has the same words if it
// is walked alone (a strong pair of classes of the automaton). Then the thread of each tile with a cut walks the automaton from
// its cut to the next cut of a later tile. So a tile without a cut, which is rare, is walked by the thread of an earlier tile.
// This is exact for every automaton and every state at the cut: `match_end` takes the cut for an end of text, before which each
// state accepts exactly if it accepts before the next character, and if it does not, the match has ended earlier. A run of more than `longest` bytes between two cuts is not walked: one thread would take
// seconds for what a CPU does in milliseconds. The launcher gives such a batch to the CPU.
#include "common.cuh"

const u16 DEAD = 0xffff;
const i64 NO_CUT = -1;

// The tables of an automaton (gputok.kernels.Automaton). `width` is the number of classes + 1; the last class is the end of text.
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
  u32 kind;   // class
  i64 bytes;  // length
};

__device__ inline bool begins_character(u8 byte) { return (byte & 0xc0) != 0x80; }

__device__ inline Character character_at(const Automaton& automaton, const u8* text, i64 at) {
  u32 lead = text[at];
  if (lead < 0x80) return {automaton.ascii_class[lead], 1};
  i64 bytes = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  u32 point = lead & (0xffu >> (bytes + 1));
  for (i64 i = 1; i < bytes; i++) point = point << 6 | (text[at + i] & 0x3fu);
  return {automaton.member[(i64)automaton.page[point >> 7] * 128 + (point & 127)], bytes};
}

__device__ inline bool has_bit(const u32* bits, i64 at) { return bits[at >> 5] >> (at & 31) & 1; }

// Returns the end of the match that begins at `at`; a match has at least one character. Text ends at `end`, and before each byte
// at which a document begins.
__device__ inline i64 match_end(const Automaton& automaton, const u8* text, const u32* documents, i64 at, i64 end) {
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

// Sets the bit places[i] of `bits` if places[i] < n_bytes. `bits` has a bit for each byte of text.
// [at most 48 registers, 0 bytes shared]
extern "C" __global__ void mark_places(const i64* __restrict__ places, i64 n, i64 n_bytes, u32* __restrict__ bits) {
  for (i64 i = global_index(); i < n; i += global_size())
    if (places[i] < n_bytes) atomicOr(&bits[places[i] >> 5], 1u << (places[i] & 31));
}

// Returns the first cut in text[at:end], or NO_CUT.
__device__ inline i64 first_cut(const Automaton& automaton, const u8* text, const u32* documents, i64 at, i64 end) {
  i64 before = at - 1;  // the character before `at`
  while (before >= 0 && !begins_character(text[before])) before--;
  u32 left = before >= 0 ? character_at(automaton, text, before).kind : 0;
  while (at < end && !begins_character(text[at])) at++;
  while (at < end) {
    Character right = character_at(automaton, text, at);
    if (has_bit(documents, at) || (at > 0 && automaton.strong[left * (automaton.width - 1) + right.kind])) return at;
    left = right.kind;
    at += right.bytes;
  }
  return NO_CUT;
}

// cuts[tile] = the first cut in the tile, or NO_CUT.
// [at most 48 registers, 0 bytes shared]
extern "C" __global__ void find_cuts(const u8* __restrict__ text, i64 n_bytes, const u32* __restrict__ documents,
                 const u8* __restrict__ ascii_class, const u16* __restrict__ page, const u8* __restrict__ member,
                 const u8* __restrict__ strong, i64 width, i64 tile_bytes, i64* __restrict__ cuts) {
  Automaton automaton = {ascii_class, page, member, nullptr, nullptr, strong, width};
  for (i64 tile = global_index(); tile * tile_bytes < n_bytes; tile += global_size()) {
    i64 at = tile * tile_bytes, end = at + tile_bytes < n_bytes ? at + tile_bytes : n_bytes;
    cuts[tile] = first_cut(automaton, text, documents, at, end);
  }
}

// Sets the bit of each byte at which a word begins; `words` has a bit for each byte of text. too_long[0]: 0 if all runs were
// walked, else ~(begin << 32 | length) of the first one that was not.
// [at most 64 registers, 0 bytes shared]
extern "C" __global__ void split_words(const u8* __restrict__ text, i64 n_bytes, const u32* __restrict__ documents,
                   const u8* __restrict__ ascii_class, const u16* __restrict__ page, const u8* __restrict__ member,
                   const u16* __restrict__ delta, const u8* __restrict__ accept, i64 width,
                   const u8* __restrict__ strong, const i64* __restrict__ cuts, i64 tile_bytes, i64 longest,
                   u32* __restrict__ words, u64* __restrict__ too_long) {
  Automaton automaton = {ascii_class, page, member, delta, accept, strong, width};
  i64 n_tiles = (n_bytes + tile_bytes - 1) / tile_bytes;
  for (i64 tile = global_index(); tile < n_tiles; tile += global_size()) {
    if (cuts[tile] == NO_CUT) continue;
    i64 next = tile + 1;
    while (next < n_tiles && cuts[next] == NO_CUT) next++;
    i64 at = cuts[tile], end = next < n_tiles ? cuts[next] : n_bytes;
    if (end - at > longest + tile_bytes) {
      for (i64 cut = at; cut != NO_CUT; cut = first_cut(automaton, text, documents, cut + 1, (tile + 1) * tile_bytes)) at = cut;
      atomicMax(too_long, ~((u64)at << 32 | (u64)(end - at)));
      continue;
    }
    u32 bits = 0;
    i64 word = at >> 5;  // of the bit set that `bits` will go to
    while (at < end) {
      if (at >> 5 != word) {
        atomicOr(&words[word], bits);
        bits = 0;
        word = at >> 5;
      }
      bits |= 1u << (at & 31);
      at = match_end(automaton, text, documents, at, end);
    }
    if (bits) atomicOr(&words[word], bits);
  }
}
