// Finds lines, and checks that text is UTF-8, in one pass over the bytes. A thread takes 32 bytes.
//
// Each test of bytes gives a word with a bit for each of 40 bytes: the eight before the thread's own, then those. Whether a byte is
// well-formed depends on the byte and on the three before it. So no thread needs what another thread found.
#include "table.cuh"

const int BEFORE = 8;  // bytes
const int OWN = 32;
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
__device__ inline u64 at_least(u64 eight, u64 byte) { return packed(((eight & ~TOPS) + ONES * (0x100 - byte)) & eight); }

// Sets the bit of each byte at which a line begins: of byte 0, and of each byte behind a newline. bits: [n_bytes / 32 + 1], a bit
// for each byte of text and one more. is_invalid[0] becomes 1 if the text is not UTF-8 (table 3-7 of the Unicode standard).
// [at most 64 registers, 0 bytes shared]
extern "C" __global__ void find_lines(const u8* __restrict__ text, i64 n_bytes, u32* __restrict__ bits, u32* is_invalid) {
  for (i64 word = global_index(); word <= n_bytes / OWN; word += global_size()) {
    i64 first = word * OWN, n = n_bytes - first < OWN ? n_bytes - first : OWN;
    u64 eights[(BEFORE + OWN) / 8] = {};  // bytes behind the text stay 0, so a character that the end cuts is invalid
    if (word) eights[0] = Eights(text + first - BEFORE).next(8);
    for (int i = 0; i < OWN / 8; i++)
      if (i * 8 < n) eights[1 + i] = Eights(text + first + i * 8).next(n - i * 8 < 8 ? n - i * 8 : 8);
    u64 newline = 0, above = 0;
    for (int i = 0; i <= OWN / 8; i++) {
      newline |= equal(eights[i], '\n') << i * 8;
      above |= packed(eights[i]) << i * 8;
    }
    bits[word] = (u32)(newline >> (BEFORE - 1)) | (word == 0);
    if (!above) continue;
    u64 lead = 0, lead3 = 0, lead4 = 0, never = 0, middle = 0, high = 0, e0 = 0, ed = 0, f0 = 0, f4 = 0;
    for (int i = 0; i <= OWN / 8; i++) {
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
    if (invalid >> BEFORE & 0xffffffffu) atomicOr(is_invalid, 1u);
  }
}

// Returns true if one of the strings is at text[at:], and ends before n_bytes.
__device__ inline bool begins_string(const u8* text, i64 n_bytes, i64 at, const u8* strings, const i64* offsets, i64 n) {
  for (i64 i = 0; i < n; i++) {
    i64 length = offsets[i + 1] - offsets[i], same = 0;
    if (length > n_bytes - at) continue;
    while (same < length && text[at + same] == strings[offsets[i] + same]) same++;
    if (same == length) return true;
  }
  return false;
}

// Returns the text that has a byte: of those that begin at begins[0], begins[1] and so on, the last one that begins before or at it.
__device__ inline i64 text_of(const i64* begins, i64 n_texts, i64 at) {
  i64 low = 0, high = n_texts - 1;
  while (low < high) {
    i64 middle = (low + high + 1) / 2;
    if (begins[middle] <= at)
      low = middle;
    else
      high = middle - 1;
  }
  return low;
}

// found[i] becomes 1 if a string begins in the text i, which has the bytes begins[i]:begins[i + 1]. pairs: [2048], a bit for each
// pair of bytes with which a string begins. A thread takes 32 bytes.
// [at most 64 registers, 0 bytes shared]
extern "C" __global__ void find_texts(const u8* __restrict__ text, i64 n_bytes, const i64* __restrict__ begins, i64 n_texts,
                  const u8* __restrict__ strings, const i64* __restrict__ offsets, const u32* __restrict__ pairs,
                  i64 n_strings, u32* found) {
  for (i64 word = global_index(); word * OWN < n_bytes; word += global_size()) {
    i64 first = word * OWN, end = first + OWN < n_bytes ? first + OWN : n_bytes;
    for (i64 at = first; at < end; at += 8) {
      i64 n = n_bytes - at < 8 ? n_bytes - at : 8;
      u64 eight = Eights(text + at).next(n), after = at + 8 < n_bytes ? text[at + 8] : 0;
      for (i64 i = 0; i < n; i++) {
        u32 pair = (u32)(eight >> 8 * i & 0xff) | (u32)((i < 7 ? eight >> 8 * (i + 1) : after) & 0xff) << 8;
        if (!(pairs[pair >> 5] >> (pair & 31) & 1)) continue;
        i64 low = text_of(begins, n_texts, at + i);
        if (load_shared_word(&found[low])) continue;
        if (begins_string(text, n_bytes, at + i, strings, offsets, n_strings)) atomicExch(&found[low], 1u);
      }
    }
  }
}

// found[i] becomes 1 if the text i has a character whose kind is at least n_inert; kinds are in a two-stage table. A thread takes the
// characters that begin in 32 bytes. Text is UTF-8, so no character reaches beyond its end.
// [at most 64 registers, 0 bytes shared]
extern "C" __global__ void find_changing(const u8* __restrict__ text, i64 n_bytes, const i64* __restrict__ begins,
                                         i64 n_texts, const u16* __restrict__ page, const u16* __restrict__ member,
                                         i64 n_inert, u32* found) {
  for (i64 word = global_index(); word * OWN < n_bytes; word += global_size()) {
    i64 first = word * OWN, end = first + OWN < n_bytes ? first + OWN : n_bytes;
    for (i64 at = first; at < end; at += 8) {
      i64 n = end - at < 8 ? end - at : 8;
      u64 eight = Eights(text + at).next(n);
      if (!packed(eight) && n_inert > 0) continue;  // ASCII is inert in each form
      for (i64 i = at; i < at + n; i++) {
        u32 lead = text[i], point = lead & 0x1f;
        if (lead < 0xc0) continue;
        point = point << 6 | (text[i + 1] & 0x3fu);
        if (lead >= 0xe0) point = (point & 0x3ff) << 6 | (text[i + 2] & 0x3fu);
        if (lead >= 0xf0) point = (point & 0x7fff) << 6 | (text[i + 3] & 0x3fu);
        if (member[(u32)page[point >> 7] << 7 | (point & 127)] < n_inert) continue;
        i64 low = text_of(begins, n_texts, i);
        if (!load_shared_word(&found[low])) atomicExch(&found[low], 1u);
      }
    }
  }
}
