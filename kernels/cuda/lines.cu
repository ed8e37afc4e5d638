// Finds lines, and checks that text is UTF-8, in one pass over the bytes. A thread takes 32 bytes.
//
// Each test of bytes gives a word with a bit for each of 40 bytes: the eight before the thread's own, then those.
// Whether a byte is well-formed depends on it and on the three before. So no thread needs what another thread found.
#include "table.cuh"

const u32 BEFORE = 8, OWN = 32;  // bytes before those of a thread, and its own
const u64 ONES = 0x0101010101010101ull;
const u64 TOPS = 0x8080808080808080ull;

// Returns a bit for each of eight bytes, set if the top bit of the byte is set.
__device__ inline u64 packed(u64 tops) { return ((tops & TOPS) >> 7) * 0x0102040810204080ull >> 56; }

// Returns a bit for each of eight bytes, set if the byte is equal to `byte`.
__device__ inline u64 equal(u64 eight, u64 byte) {
  u64 differ = eight ^ ONES * byte;
  return packed(~(((differ & ~TOPS) + ~TOPS) | differ));
}

// Returns a bit for each of eight bytes, set if the byte is at least `byte`, which is at least 0x80.
__device__ inline u64 at_least(u64 eight, u64 byte) {
  return packed(((eight & ~TOPS) + ONES * (0x100 - byte)) & eight);
}

struct Lines {
  const u8* text;   // [n_bytes], and 16 bytes more
  u32* bits;        // [n_bytes / 32 + 1], a bit for each byte of text and one more
  u32* is_invalid;  // [1]
  alignas(8) u32 n_bytes;  // less than 2^31
};

// Sets the bit of each byte at which a line begins: of byte 0, and of each byte after a newline. is_invalid[0] becomes
// 1 if the text is not UTF-8 (table 3-7 of the Unicode standard).
// [at most 64 registers, 0 bytes shared]
extern "C" __global__ void find_lines(const __grid_constant__ Lines l) {
  for (u32 word = global_index(); word <= l.n_bytes / OWN; word += global_size()) {
    u32 first = word * OWN, n = l.n_bytes - first < OWN ? l.n_bytes - first : OWN;
    u64 eights[(BEFORE + OWN) / 8] = {};  // Bytes after the text stay 0, so a character that the end cuts is invalid.
    if (word) eights[0] = Eights(l.text + first - BEFORE).next(8);
    for (u32 i = 0; i < OWN / 8; i++)
      if (i * 8 < n) eights[1 + i] = Eights(l.text + first + i * 8).next(n - i * 8 < 8 ? n - i * 8 : 8);
    u64 newline = 0, above = 0;
    for (u32 i = 0; i <= OWN / 8; i++) {
      newline |= equal(eights[i], '\n') << i * 8;
      above |= packed(eights[i]) << i * 8;
    }
    l.bits[word] = (u32)(newline >> (BEFORE - 1)) | (word == 0);
    if (!above) continue;
    u64 lead = 0, lead3 = 0, lead4 = 0, never = 0, middle = 0, high = 0, e0 = 0, ed = 0, f0 = 0, f4 = 0;
    for (u32 i = 0; i <= OWN / 8; i++) {
      u64 eight = eights[i];
      lead |= at_least(eight, 0xc0) << i * 8;
      lead3 |= at_least(eight, 0xe0) << i * 8;
      lead4 |= at_least(eight, 0xf0) << i * 8;
      never |= ((at_least(eight, 0xc0) & ~at_least(eight, 0xc2)) | at_least(eight, 0xf5)) << i * 8;
      middle |= at_least(eight, 0x90) << i * 8;
      high |= at_least(eight, 0xa0) << i * 8;
      e0 |= equal(eight, 0xe0) << i * 8;
      ed |= equal(eight, 0xed) << i * 8;
      f0 |= equal(eight, 0xf0) << i * 8;
      f4 |= equal(eight, 0xf4) << i * 8;
    }
    // Bytes that must continue a character, compared with those that do
    u64 invalid = (lead << 1 | lead3 << 2 | lead4 << 3) ^ (above & ~lead);
    invalid |= never | (e0 << 1 & ~high) | (ed << 1 & high) | (f0 << 1 & ~middle) | (f4 << 1 & middle);
    if (invalid >> BEFORE & 0xffffffffu) atomicOr(l.is_invalid, 1u);
  }
}

// Texts in which something is looked for.
struct Searched {
  const u8* text;     // [n_bytes], and 16 bytes more: one text after the other
  const u32* begins;  // [n_texts + 1]
  u32* found;         // [n_texts], found[i] becomes 1 if the text i has what is looked for
  alignas(8) u32 n_bytes;  // less than 2^31
  alignas(8) u32 n_texts;
};

// Strings that are looked for.
struct Wanted {
  const u8* text;      // one string after the other
  const u32* offsets;  // [n + 1]
  const u32* pairs;    // [2048], a bit for each pair of bytes with which a string begins
  alignas(8) u32 n;
};

// Characters besides which others are looked for: kinds below n_inert, in a two-stage table.
struct Inert {
  const u16* page;    // [0x110000 >> 7]
  const u16* member;  // [pages * 128]
  alignas(8) u32 n_inert;
};

// Returns true if one of the strings is at text[at:], and ends before n_bytes.
__device__ inline bool begins_string(const Searched& s, const Wanted& w, u32 at) {
  for (u32 i = 0; i < w.n; i++) {
    u32 begin = w.offsets[i], length = w.offsets[i + 1] - begin, same = 0;
    if (length > s.n_bytes - at) continue;
    while (same < length && s.text[at + same] == w.text[begin + same]) same++;
    if (same == length) return true;
  }
  return false;
}

// Returns the text that has a byte: the last one that begins before or at it.
__device__ inline u32 text_of(const Searched& s, u32 at) {
  return last_of(0, s.n_texts - 1, [&](u32 text) { return s.begins[text] <= at; });
}

__device__ inline u32 own_end(const Searched& s, u32 first) {
  return s.n_bytes - first < OWN ? s.n_bytes : first + OWN;
}

// Finds the texts in which a string begins. A thread takes 32 bytes.
// [at most 64 registers, 0 bytes shared]
extern "C" __global__ void find_texts(const __grid_constant__ Searched s, const __grid_constant__ Wanted w) {
  for (u32 word = global_index(); word * OWN < s.n_bytes; word += global_size()) {
    u32 end = own_end(s, word * OWN);
    for (u32 at = word * OWN; at < end; at += 8) {
      u32 n = s.n_bytes - at < 8 ? s.n_bytes - at : 8;
      u64 eight = Eights(s.text + at).next(n), after = at + 8 < s.n_bytes ? s.text[at + 8] : 0;
      for (u32 i = 0; i < n; i++) {
        u32 pair = (u32)(eight >> 8 * i & 0xff) | (u32)((i < 7 ? eight >> 8 * (i + 1) : after) & 0xff) << 8;
        if (!(w.pairs[pair >> 5] >> (pair & 31) & 1)) continue;
        u32 text = text_of(s, at + i);
        if (load_shared_word(&s.found[text])) continue;
        if (begins_string(s, w, at + i)) atomicExch(&s.found[text], 1u);
      }
    }
  }
}

// Finds the texts that have a character which is not inert. A thread takes the characters that begin in 32 bytes. Text
// is UTF-8, so no character reaches beyond its end.
// [at most 64 registers, 0 bytes shared]
extern "C" __global__ void find_changing(const __grid_constant__ Searched s, const __grid_constant__ Inert t) {
  for (u32 word = global_index(); word * OWN < s.n_bytes; word += global_size()) {
    u32 end = own_end(s, word * OWN);
    for (u32 at = word * OWN; at < end; at += 8) {
      u32 n = end - at < 8 ? end - at : 8;
      u64 eight = Eights(s.text + at).next(n);
      if (!packed(eight) && t.n_inert > 0) continue;  // ASCII is inert in each form
      for (u32 i = at; i < at + n; i++) {
        u32 lead = s.text[i], point = lead & 0x1f;
        if (lead < 0xc0) continue;
        point = point << 6 | (s.text[i + 1] & 0x3fu);
        if (lead >= 0xe0) point = (point & 0x3ff) << 6 | (s.text[i + 2] & 0x3fu);
        if (lead >= 0xf0) point = (point & 0x7fff) << 6 | (s.text[i + 3] & 0x3fu);
        if (t.member[(u32)t.page[point >> 7] << 7 | (point & 127)] < t.n_inert) continue;
        u32 text = text_of(s, i);
        if (!load_shared_word(&s.found[text])) atomicExch(&s.found[text], 1u);
      }
    }
  }
}
