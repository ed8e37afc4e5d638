// Encodes words by BPE. Each distinct word is encoded once. Of its pairs, the one with the lowest rank is merged first;
// of several such pairs, the leftmost one.
//
//   enter_words    a thread takes a word of the text, and finds its slot in a table of distinct words
//   number_words   a thread takes a distinct word, gives it a number, and memory for its tokens
//   find_tokens    a thread takes a word, and looks it up among the tokens (for models with ignore_merges)
//   sort_words     a warp takes 32 words, and puts those without tokens on the list of their kind
//   encode_short   a thread takes a word of at most SHORT bytes, and looks at all its pairs before each merge
//   encode_middle  a warp takes a word of at most MIDDLE bytes; lanes have up to four symbols, and meet at each merge
//   encode_long    a block takes a word, and merges all pairs of the lowest rank in one round
//   count_tokens   a thread takes a word of the text, and writes how many tokens it has
//   count_added    a thread takes an added token, whose words have one token together
//   gather_tokens  a warp takes 32 words of the text, and copies their tokens
//   end_pieces     a thread takes a piece of the text, writes where its tokens end, and the id of an added token
//   narrow_ids     a thread takes an id, and writes it with 16 bits
//   surround       a thread takes an id, and copies it to the row of its document, which has other ids around it
//
// A symbol is the position of a token in the vocabulary; the first symbols of a word stand for its bytes. A round
// merges all pairs of the lowest rank, and of a chain of overlapping pairs every other one. Up to the first merge that
// makes a pair of a lower rank, this is what merging one pair after the other does. So a round ends at that merge.
// Merges that were learnt make no such pair; merges that were derived from a list of tokens make some.
#include "table.cuh"

const u32 NONE = 0xffffffff;  // no symbol, and no rank
const u32 STALE = 0xfffffffe;  // for the lowest rank of a tile that has changed
const u32 SHORT = 16, WARP = 32, MIDDLE = 128;
const u32 BLOCK = 128;  // threads of a block of encode_long
const u32 TILE = 64;  // bytes of a long word, for each of which the lowest rank is kept

// A BPE model of bytes.
struct Model {
  const u64* pairs;          // [pair_mask + 1], (left << bits | right) << 64 - 2 * bits | rank, or FREE
  const u32* merged;         // [merges], the symbol that the pair of each rank becomes
  const u32* symbols;        // [256], of each byte
  const u32* ids;            // [tokens], of each symbol
  const u64* whole;          // [whole_mask + 1], upper half of the hash << 32 | symbol + 1; 0: a free slot
  const u8* whole_text;      // the bytes of all tokens
  const u32* whole_offsets;  // [tokens + 1]
  alignas(8) u32 pair_mask;
  alignas(8) u32 pair_bits;      // bits of a symbol in a slot of `pairs`
  alignas(8) u32 whole_mask;
  alignas(8) u32 longest_whole;  // length of the longest token in bytes
};

// The words of a text, and the table in which each distinct one has a slot.
struct Entered {
  const u8* text;
  const u32* starts;  // [n + 1], where each word begins
  u64* keys;          // [mask + 1]
  u32* tags;          // [mask + 1], then the number of each distinct word
  u32* slots;         // [n], of each word
  u32* claimed;       // [(mask + 1) / 2], the slots of the distinct words
  u32* used;          // [1]
  u32* n_claimed;     // [1], at most the n of `Words`
  u32* n_over;        // [1], words without room
  u32* n_bytes;       // [1], of the distinct words that have numbers
  alignas(8) u32 mask;
  alignas(8) u32 n;
};

// Words, and memory for their tokens: word i has n_tokens[i] of them, from memory[i] on.
struct Words {
  const u8* text;
  u32* begin;     // [n]
  u32* size;      // [n], in bytes; 0 where there is no word
  u32* memory;    // [n]
  u32* symbols;   // [bytes of all words], the symbol of each token
  u32* n_tokens;  // [n], 0: not encoded yet
  alignas(8) u32 n;
};

enum Kind { SHORT_WORDS, MIDDLE_WORDS, LONG_WORDS, LONG_BYTES, LONG_TILES, USED_BYTES, USED_TILES };

// Words that are to be encoded, and memory for the work on long words. The index of a symbol
// is that of its first byte.
struct Todo {
  u32* words;    // [3 * n], a list for each kind
  u32* counts;   // [USED_TILES + 1], the length of each list; the bytes and tiles of all long words, and those in use
  u32* symbols;  // [LONG_BYTES], NONE: the symbol became a part of an earlier one
  u32* ranks;    // [LONG_BYTES], the rank of a symbol and the next one, or NONE
  u32* before;   // [LONG_BYTES], the index of the previous symbol, NONE for the first symbol
  u32* after;    // [LONG_BYTES], the index of the next symbol, the length of the word for the last symbol
  u32* list;     // [LONG_BYTES], first symbols of chains, from the front; new symbols, from the back
  u32* least;    // [LONG_TILES], the lowest rank of each tile, or STALE
  alignas(8) u32 n;
};

// The tokens of a text, one after the other.
struct Rows {
  const u32* slots;    // [n], the slot of each word ...
  const u32* numbers;  // ... and the number of the word in each slot
  u32* sizes;          // [n], tokens of each word
  const u32* offsets;  // [n + 1], where they begin
  u32* ids;
  alignas(8) u32 n;
};

// Pieces of a text, some of which are added tokens.
struct Pieces {
  const u32* offsets;  // [n + 1]
  const u32* token;    // [n], the id of an added token, or NONE
  const u32* words;    // [n_words + 1], where each word begins
  u32* ends;           // [n + 1], where the ids of each piece begin, and the number of all ids
  alignas(8) u32 n;
  alignas(8) u32 n_words;
};

struct Narrow {
  const u32* ids;  // [n]
  u16* narrow;     // [n]
  alignas(8) u32 n;
};

// Documents, and ids that are put around each.
struct Around {
  const u32* ids;
  const u32* ends;       // of `Pieces`
  const u32* documents;  // [n_documents + 1], the first piece of each document
  const u32* around;     // [n_before + n_after]
  u32* to;
  u32* rows;             // [n_documents + 1], where the ids of each document begin in `to`
  alignas(8) u32 n_documents;
  alignas(8) u32 n_before;
  alignas(8) u32 n_after;
};

__device__ inline u32 rank_of(const Model& model, u32 left, u32 right) {
  u32 bits = model.pair_bits, rank_bits = 64 - 2 * bits;
  u64 key = (u64)left << bits | right;
  u64 hash = key * 0x9e3779b97f4a7c15ull;
  u32 at = (u32)(hash ^ hash >> 32) & model.pair_mask;
  u64 slot = model.pairs[at];
  while (slot >> rank_bits != key) {
    if (slot == FREE) return NONE;
    at = (at + 1) & model.pair_mask;
    slot = model.pairs[at];
  }
  return (u32)(slot & (((u64)1 << rank_bits) - 1));
}

// Returns n bytes as a number; the first byte becomes the lowest byte.
__device__ inline u64 load_bytes(const u8* text, u32 n) {
  u64 value = 0;
  for (u32 i = 0; i < n; i++) value |= (u64)text[i] << 8 * i;
  return value;
}

__device__ inline u64 mix(u64 hash) {
  hash *= 0x9e3779b97f4a7c15ull;
  return hash ^ hash >> 29;
}

// The hash of kernels/cpu/lookup.py, which builds the tables.
__device__ inline u64 hash_string(const u8* text, u32 n) {
  u64 hash = mix((u64)n + 1);
  if (n >= 8) {
    u32 i = 0;
    for (; i + 8 <= n; i += 8) hash = mix(hash ^ load_bytes(text + i, 8));
    if (i < n) hash = mix(hash ^ load_bytes(text + n - 8, 8));
  } else if (n >= 4) {
    hash = mix(hash ^ (load_bytes(text, 4) | load_bytes(text + n - 4, 4) << 32));
  } else if (n > 0) {
    hash = mix(hash ^ ((u64)text[0] | (u64)text[n >> 1] << 8 | (u64)text[n - 1] << 16));
  }
  return mix(hash);
}

// [at most 64 registers, 0 bytes shared]
extern "C" __global__ void enter_words(const __grid_constant__ Entered e) {
  Texts texts = {e.text, e.text};  // no word is in an arena
  Table table = {e.keys, e.tags, e.used, e.mask, e.claimed, e.n_claimed};
  for (u32 i = global_index(); i < e.n; i += global_size()) {
    u64 key = key_of(e.starts[i], e.starts[i + 1]);
    u32 slot = enter_word(table, texts, key, hash_bytes(key_text(texts, key), key_length(key)));
    if (slot == NO_ROOM) atomicAdd(e.n_over, 1u);
    e.slots[i] = slot;
  }
}

// [at most 48 registers, 0 bytes shared]
extern "C" __global__ void number_words(const __grid_constant__ Entered e, const __grid_constant__ Words w) {
  u32 lane = threadIdx.x % WARP;
  for (u32 first = global_index() - lane; first < w.n; first += global_size()) {
    u32 number = first + lane;
    bool is_word = number < *e.n_claimed;
    u32 slot = is_word ? e.claimed[number] : 0;
    u64 key = is_word ? e.keys[slot] : 0;
    u32 memory = take(e.n_bytes, key_length(key));
    if (!is_word) continue;
    e.tags[slot] = number;
    w.begin[number] = key_offset(key);
    w.size[number] = key_length(key);
    w.memory[number] = memory;
  }
}

// [at most 64 registers, 0 bytes shared]
extern "C" __global__ void find_tokens(const __grid_constant__ Model m, const __grid_constant__ Words w) {
  for (u32 word = global_index(); word < w.n; word += global_size()) {
    const u8* text = w.text + w.begin[word];
    u32 size = w.size[word];
    if (size == 0 || size > m.longest_whole) continue;
    u64 hash = hash_string(text, size);
    for (u32 at = (u32)hash & m.whole_mask; m.whole[at]; at = (at + 1) & m.whole_mask) {
      if (m.whole[at] >> 32 != hash >> 32) continue;
      u32 token = (u32)m.whole[at] - 1, first = m.whole_offsets[token];
      bool same = m.whole_offsets[token + 1] - first == size;
      for (u32 i = 0; same && i < size; i++) same = m.whole_text[first + i] == text[i];
      if (!same) continue;
      w.symbols[w.memory[word]] = token;
      w.n_tokens[word] = 1;
      break;
    }
  }
}

// [at most 48 registers, 0 bytes shared]
extern "C" __global__ void sort_words(const __grid_constant__ Words w, const __grid_constant__ Todo t) {
  u32 lane = threadIdx.x % WARP;
  for (u32 first = global_index() - lane; first < w.n; first += global_size()) {
    u32 word = first + lane, size = word < w.n && w.n_tokens[word] == 0 ? w.size[word] : 0;
    u32 kind = size <= SHORT ? SHORT_WORDS : size <= MIDDLE ? MIDDLE_WORDS : LONG_WORDS;
    for (u32 each = SHORT_WORDS; each <= LONG_WORDS; each++) {
      bool wanted = size && kind == each;
      u32 at = take(&t.counts[each], (u32)wanted);
      if (wanted) t.words[each * w.n + at] = word;
    }
    if (kind != LONG_WORDS) continue;
    atomicAdd(&t.counts[LONG_BYTES], size);
    atomicAdd(&t.counts[LONG_TILES], (size + TILE - 1) / TILE);
  }
}

// [at most 64 registers, 0 bytes shared]
extern "C" __global__ void encode_short(
    const __grid_constant__ Model m, const __grid_constant__ Words w, const __grid_constant__ Todo t) {
  for (u32 i = global_index(); i < t.counts[SHORT_WORDS]; i += global_size()) {
    u32 word = t.words[SHORT_WORDS * t.n + i], memory = w.memory[word], size = w.size[word];
    const u8* text = w.text + w.begin[word];
    u32 symbols[SHORT], ranks[SHORT];
    for (u32 j = 0; j < size; j++) {
      symbols[j] = m.symbols[text[j]];
      ranks[j] = NONE;
      if (j) ranks[j - 1] = rank_of(m, symbols[j - 1], symbols[j]);
    }
    while (true) {
      u32 at = 0;
      for (u32 j = 1; j < size; j++)
        if (ranks[j] < ranks[at]) at = j;
      if (ranks[at] == NONE) break;
      symbols[at] = m.merged[ranks[at]];
      size--;
      for (u32 j = at + 1; j < size; j++) {
        symbols[j] = symbols[j + 1];
        ranks[j] = ranks[j + 1];
      }
      ranks[at] = at + 1 < size ? rank_of(m, symbols[at], symbols[at + 1]) : NONE;
      if (at) ranks[at - 1] = rank_of(m, symbols[at - 1], symbols[at]);
    }
    for (u32 j = 0; j < size; j++) w.symbols[memory + j] = symbols[j];
    w.n_tokens[word] = size;
  }
}

// Returns the first bit that is set, or NONE.
template <u32 EACH>
__device__ inline u32 first_of(const u32 (&bits)[EACH]) {
  u32 found = (EACH - 1) * WARP + (u32)__ffs((int)bits[EACH - 1]) - 1;
  if (EACH > 1 && !bits[EACH - 1]) found = NONE;
  for (u32 j = EACH - 1; j-- > 0;)
    if (bits[j]) found = j * WARP + (u32)__ffs((int)bits[j]) - 1;
  return found;
}

// Returns the symbol at an index, which is the same for all lanes.
template <u32 EACH>
__device__ inline u32 symbol_at(const u32 (&symbols)[EACH], u32 at) {
  u32 value = symbols[0];
  for (u32 j = 1; j < EACH; j++)
    if (at / WARP == j) value = symbols[j];
  return __shfl_sync(ALL_LANES, value, (int)(at % WARP));
}

// Encodes a word of at most EACH * WARP bytes. A lane has each WARP-th symbol; `alive` has a bit for each that is left.
template <u32 EACH>
__device__ inline void encode_in_warp(const Model& m, const Words& w, u32 word, u32 size) {
  u32 lane = threadIdx.x % WARP, memory = w.memory[word], begin = w.begin[word];
  u32 symbols[EACH], ranks[EACH], alive[EACH];
  for (u32 j = 0; j < EACH; j++) {
    u32 p = j * WARP + lane;
    symbols[j] = p < size ? m.symbols[w.text[begin + p]] : NONE;
    alive[j] = __ballot_sync(ALL_LANES, p < size);
  }
  for (u32 j = 0; j < EACH; j++) {
    u32 right = __shfl_sync(ALL_LANES, symbols[j], (int)((lane + 1) % WARP));
    u32 next = j + 1 < EACH ? __shfl_sync(ALL_LANES, symbols[j + 1 < EACH ? j + 1 : j], 0) : NONE;
    if (lane == WARP - 1) right = next;
    ranks[j] = j * WARP + lane + 1 < size ? rank_of(m, symbols[j], right) : NONE;
  }
  while (true) {
    u32 least = ranks[0];
    for (u32 j = 1; j < EACH; j++) least = ranks[j] < least ? ranks[j] : least;
    least = warp_min(least);
    if (least == NONE) break;
    u32 equal[EACH], later[EACH], before = NONE;
    for (u32 j = 0; j < EACH; j++) equal[j] = __ballot_sync(ALL_LANES, ranks[j] == least);
    u32 token = m.merged[least], at = first_of(equal);
    for (u32 j = 0; j < EACH; j++) {
      bool inside = EACH == 1 || j == at / WARP;
      u32 from = inside ? ALL_LANES << at % WARP : j < at / WARP ? 0 : ALL_LANES, earlier = alive[j] & ~from;
      later[j] = alive[j] & (inside ? from << 1 : from);
      if (j == 0 || earlier) before = j * WARP + 31 - (u32)__clz((int)earlier);
    }
    u32 gone = first_of(later);  // becomes a part of `at`
    for (u32 j = 0; j < EACH; j++) {
      u32 bit = EACH == 1 || j == gone / WARP ? 1u << gone % WARP : 0;
      alive[j] &= ~bit;
      later[j] &= ~bit;
    }
    u32 after = first_of(later), left = symbol_at(symbols, before), right = symbol_at(symbols, after);
    // The first lane looks up the new pair before, the second lane that after
    bool is_first = lane == 0;
    u32 rank = NONE;
    if (lane < 2 && (is_first ? before : after) != NONE)
      rank = rank_of(m, is_first ? left : token, is_first ? token : right);
    u32 rank_before = __shfl_sync(ALL_LANES, rank, 0), rank_at = __shfl_sync(ALL_LANES, rank, 1);
    for (u32 j = 0; j < EACH; j++) {
      u32 p = j * WARP + lane;
      if (p == at) symbols[j] = token;
      ranks[j] = p == at ? rank_at : p == before ? rank_before : p == gone ? NONE : ranks[j];
    }
  }
  u32 n_tokens = 0;
  for (u32 j = 0; j < EACH; j++) {
    if (alive[j] >> lane & 1) w.symbols[memory + n_tokens + (u32)__popc(alive[j] & ((1u << lane) - 1))] = symbols[j];
    n_tokens += (u32)__popc(alive[j]);
  }
  if (lane == 0) w.n_tokens[word] = n_tokens;
}

// [at most 64 registers, 0 bytes shared]
extern "C" __global__ void encode_middle(
    const __grid_constant__ Model m, const __grid_constant__ Words w, const __grid_constant__ Todo t) {
  for (u32 i = global_index() / WARP; i < t.counts[MIDDLE_WORDS]; i += global_size() / WARP) {
    u32 word = t.words[MIDDLE_WORDS * t.n + i], size = w.size[word];
    if (size <= WARP)
      encode_in_warp<1>(m, w, word, size);
    else if (size <= 2 * WARP)
      encode_in_warp<2>(m, w, word, size);
    else
      encode_in_warp<4>(m, w, word, size);
  }
}

// The memory of one long word.
struct LongWord {
  u32 size;
  u32* symbols;
  u32* ranks;
  u32* before;
  u32* after;
  u32* list;
  u32* least;
};

__device__ inline void store_rank(const LongWord& word, u32 at, u32 rank) {
  atomicExch(&word.ranks[at], rank);  // two neighbours may store the same rank
  atomicExch(&word.least[at / TILE], STALE);
}

// Looks for the first index in the chain from `at` on at which a merge makes a pair of a lower rank, and lowers *last
// to that index.
__device__ inline void find_last(const Model& m, const LongWord& word, u32 at, u32 rank, u32 token, u32* last) {
  u32 before = word.before[at], left = NONE;
  if (before != NONE) {
    u32 pair = word.before[before];  // if this pair has the rank, it is merged before
    left = pair != NONE && word.ranks[pair] == rank ? token : word.symbols[before];
  }
  while (true) {
    u32 right = word.after[at], later = word.after[right];
    bool lower = left != NONE && rank_of(m, left, token) < rank;
    if (later < word.size) lower |= rank_of(m, token, word.symbols[later]) < rank;
    if (lower) atomicMin(last, at);
    if (lower || word.ranks[right] != rank || word.ranks[later] != rank) return;
    at = later;
    left = token;
  }
}

// Merges every other pair of the chain that begins at `at`, up to the index `last`.
__device__ inline void merge_chain(const LongWord& word, u32 at, u32 rank, u32 token, u32 last, u32* n_made) {
  bool goes_on = at <= last;
  while (goes_on) {
    u32 right = word.after[at], later = word.after[right];
    goes_on = word.ranks[right] == rank && word.ranks[later] == rank && later <= last;
    word.symbols[at] = token;
    word.symbols[right] = NONE;
    word.after[at] = later;
    if (later < word.size) word.before[later] = at;
    store_rank(word, right, NONE);
    word.list[word.size - 1 - atomicAdd(n_made, 1u)] = at;
    at = later;
  }
}

// What the threads of a block share while they encode a word.
struct Round {
  u32 first_byte;  // of the memory of the word ...
  u32 first_tile;  // ... and the first of its tiles
  u32 lowest;      // the lowest rank
  u32 last;        // the last index at which this round merges
  u32 n_heads;     // first symbols of chains
  u32 n_made;      // new symbols
  u32 in_warps[BLOCK / WARP];
};

// A block has BLOCK threads, and takes a word. A round looks once at each tile. A word has at most as many rounds as
// ranks occur in it, and one more for each merge that makes a pair of a lower rank.
// [at most 64 registers, 64 bytes shared]
extern "C" __global__ void encode_long(
    const __grid_constant__ Model m, const __grid_constant__ Words w, const __grid_constant__ Todo t) {
  __shared__ Round s;
  u32 thread = threadIdx.x;
  for (u32 i = blockIdx.x; i < t.counts[LONG_WORDS]; i += gridDim.x) {
    u32 number = t.words[LONG_WORDS * t.n + i], size = w.size[number], n_tiles = (size + TILE - 1) / TILE;
    const u8* text = w.text + w.begin[number];
    if (thread == 0) {
      s.first_byte = atomicAdd(&t.counts[USED_BYTES], size);
      s.first_tile = atomicAdd(&t.counts[USED_TILES], n_tiles);
    }
    __syncthreads();
    u32 at = s.first_byte;
    u32* least_of = t.least + s.first_tile;
    LongWord word = {size, t.symbols + at, t.ranks + at, t.before + at, t.after + at, t.list + at, least_of};
    for (u32 p = thread; p < size; p += BLOCK) {
      u32 symbol = m.symbols[text[p]];
      word.symbols[p] = symbol;
      word.ranks[p] = p + 1 < size ? rank_of(m, symbol, m.symbols[text[p + 1]]) : NONE;
      word.before[p] = p - 1;
      word.after[p] = p + 1;
    }
    for (u32 tile = thread; tile < n_tiles; tile += BLOCK) word.least[tile] = STALE;
    while (true) {
      if (thread == 0) {
        s.lowest = s.last = NONE;
        s.n_heads = s.n_made = 0;
      }
      __syncthreads();
      u32 least = NONE;
      for (u32 tile = thread; tile < n_tiles; tile += BLOCK) {
        u32 found = word.least[tile], end = (tile + 1) * TILE < size ? (tile + 1) * TILE : size;
        if (found == STALE) {
          found = NONE;
          for (u32 p = tile * TILE; p < end; p++) found = word.ranks[p] < found ? word.ranks[p] : found;
          word.least[tile] = found;
        }
        least = found < least ? found : least;
      }
      least = warp_min(least);
      if (thread % WARP == 0) atomicMin(&s.lowest, least);
      __syncthreads();
      u32 rank = s.lowest;
      if (rank == NONE) break;
      u32 token = m.merged[rank];
      for (u32 tile = thread; tile < n_tiles; tile += BLOCK) {
        if (word.least[tile] != rank) continue;
        u32 end = (tile + 1) * TILE < size ? (tile + 1) * TILE : size;
        for (u32 p = tile * TILE; p < end; p++) {
          bool heads = word.ranks[p] == rank && (word.before[p] == NONE || word.ranks[word.before[p]] != rank);
          if (heads) word.list[atomicAdd(&s.n_heads, 1u)] = p;
        }
      }
      __syncthreads();
      for (u32 j = thread; j < s.n_heads; j += BLOCK) find_last(m, word, word.list[j], rank, token, &s.last);
      __syncthreads();
      for (u32 j = thread; j < s.n_heads; j += BLOCK)
        merge_chain(word, word.list[j], rank, token, s.last, &s.n_made);
      __syncthreads();
      for (u32 j = thread; j < s.n_made; j += BLOCK) {
        u32 p = word.list[size - 1 - j], before = word.before[p], later = word.after[p];
        store_rank(word, p, later < size ? rank_of(m, token, word.symbols[later]) : NONE);
        if (before != NONE) store_rank(word, before, rank_of(m, word.symbols[before], token));
      }
      __syncthreads();
    }
    u32 share = (size + BLOCK - 1) / BLOCK, first = thread * share < size ? thread * share : size;
    u32 stop = first + share < size ? first + share : size, count = 0, n_tokens;
    for (u32 p = first; p < stop; p++) count += word.symbols[p] != NONE;
    u32 to = w.memory[number] + sum_before<BLOCK>(count, s.in_warps, &n_tokens);
    for (u32 p = first; p < stop; p++)
      if (word.symbols[p] != NONE) w.symbols[to++] = word.symbols[p];
    if (thread == 0) w.n_tokens[number] = n_tokens;
  }
}

// Returns the number of the distinct word to which a word of the text is equal.
__device__ inline u32 number_of(const Rows& r, u32 word) { return r.numbers[r.slots[word]]; }

// [at most 48 registers, 0 bytes shared]
extern "C" __global__ void count_tokens(const __grid_constant__ Words w, const __grid_constant__ Rows r) {
  for (u32 i = global_index(); i < r.n; i += global_size()) r.sizes[i] = w.n_tokens[number_of(r, i)];
}

// Returns the first word that does not begin before `at`.
__device__ inline u32 word_at(const Pieces& p, u32 at) {
  return last_of(0, p.n_words, [&](u32 word) { return p.words[word - 1] < at; });
}

// [at most 48 registers, 0 bytes shared]
extern "C" __global__ void count_added(const __grid_constant__ Pieces p, const __grid_constant__ Rows r) {
  for (u32 i = global_index(); i < p.n; i += global_size()) {
    if (p.token[i] == NONE) continue;
    u32 first = word_at(p, p.offsets[i]);
    for (u32 word = first; word < p.n_words && p.words[word] < p.offsets[i + 1]; word++) r.sizes[word] = word == first;
  }
}

// [at most 64 registers, 0 bytes shared]
extern "C" __global__ void gather_tokens(
    const __grid_constant__ Model m, const __grid_constant__ Words w, const __grid_constant__ Rows r) {
  u32 lane = threadIdx.x % WARP;
  for (u32 first = global_index() - lane; first < r.n; first += global_size()) {
    u32 i = first + lane, from = 0, to = 0, size = 0;
    if (i < r.n) {
      from = w.memory[number_of(r, i)];
      to = r.offsets[i];
      size = r.offsets[i + 1] - to;
    }
    bool together = size > WARP;
    for (u32 j = 0; !together && j < size; j++) r.ids[to + j] = m.ids[w.symbols[from + j]];
    for (u32 rest = __ballot_sync(ALL_LANES, together); rest; rest &= rest - 1) {  // all lanes copy a long run
      int owner = __ffs((int)rest) - 1;
      u32 source = __shfl_sync(ALL_LANES, from, owner), target = __shfl_sync(ALL_LANES, to, owner);
      u32 length = __shfl_sync(ALL_LANES, size, owner);
      for (u32 j = lane; j < length; j += WARP) r.ids[target + j] = m.ids[w.symbols[source + j]];
    }
  }
}

// [at most 48 registers, 0 bytes shared]
extern "C" __global__ void end_pieces(const __grid_constant__ Pieces p, const __grid_constant__ Rows r) {
  for (u32 i = global_index(); i <= p.n; i += global_size()) {
    u32 end = r.offsets[word_at(p, p.offsets[i])];
    p.ends[i] = end;
    if (i < p.n && p.token[i] != NONE && p.offsets[i] < p.offsets[i + 1]) r.ids[end] = p.token[i];
  }
}

// [at most 48 registers, 0 bytes shared]
extern "C" __global__ void narrow_ids(const __grid_constant__ Narrow n) {
  for (u32 i = global_index(); i < n.n; i += global_size()) n.narrow[i] = (u16)n.ids[i];
}

// [at most 48 registers, 0 bytes shared]
extern "C" __global__ void surround(const __grid_constant__ Around a) {
  u32 n_around = a.n_before + a.n_after, n_ids = a.ends[a.documents[a.n_documents]];
  for (u32 i = global_index(); i < n_ids; i += global_size()) {
    u32 own = last_of(0, a.n_documents - 1, [&](u32 document) { return a.ends[a.documents[document]] <= i; });
    a.to[i + own * n_around + a.n_before] = a.ids[i];
  }
  for (u32 document = global_index(); document <= a.n_documents; document += global_size()) {
    u32 row = a.ends[a.documents[document]] + document * n_around;
    a.rows[document] = row;
    if (document == a.n_documents) continue;
    u32 after = a.ends[a.documents[document + 1]] + document * n_around + a.n_before;
    for (u32 i = 0; i < a.n_before; i++) a.to[row + i] = a.around[i];
    for (u32 i = 0; i < a.n_after; i++) a.to[after + i] = a.around[a.n_before + i];
  }
}
