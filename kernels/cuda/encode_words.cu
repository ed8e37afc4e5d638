// Encodes words by BPE. Each distinct word is encoded once. Of its pairs, the one with the lowest rank is merged first; of several
// such pairs, the leftmost one.
//
//   enter_words     a thread takes a word of the text, and finds its slot in a table of distinct words
//   find_tokens     a thread takes a word, and looks it up among the tokens (for models with ignore_merges)
//   encode_short    a thread takes a word of at most SHORT bytes, and looks at all its pairs before each merge
//   encode_middle   a warp takes a word of at most 32 bytes; each lane has one symbol, and all lanes meet at each merge
//   encode_long     a block takes a word, and merges all pairs of the lowest rank in one round
//   gather_tokens   a warp takes 32 words of the text, and copies their tokens
//
// A symbol is the position of a token in the vocabulary; the first symbols of a word stand for its bytes. A round merges all pairs
// of the lowest rank, and of a chain of overlapping pairs every other one. Up to the first merge that makes a pair of a lower
// rank, this is what merging one pair after the other does. So a round ends at that merge. Merges that were learnt make no such
// pair; merges that were derived from a list of tokens make some.
#include "table.cuh"

const u32 NONE = 0xffffffff;   // no symbol, no rank
const u32 STALE = 0xfffffffe;  // stands for the lowest rank of a tile that has changed
const int SHORT = 16;
const int WARP = 32;
const int BLOCK = 128;  // threads of encode_long
const int TILE = 64;    // places of a long word; the lowest rank of each tile is kept

// A BPE model of bytes, in the order of the launcher's `Model`.
struct Model {
  const u64* pairs;          // [capacity], (left << bits | right) << 64 - 2 * bits | rank, or FREE
  const u32* merged;         // [merges], the symbol that the pair of each rank becomes
  const u32* symbols;        // [256], of each byte
  const u32* ids;            // [tokens], of each symbol
  const u64* whole;          // [capacity], upper half of the hash << 32 | symbol + 1; 0: a free slot
  const u8* whole_text;      // the bytes of all tokens
  const i64* whole_offsets;  // [tokens + 1]
  i64 pair_slots;            // the length of `pairs`
  i64 pair_bits;             // bits of a symbol in a slot of `pairs`
  i64 whole_slots;           // the length of `whole`
  i64 longest_whole;         // length of the longest token in bytes
};

// Words, and memory for their tokens: word i has n_tokens[i] of them, from place[i] on (`Words` of the launcher).
struct Words {
  const u8* text;
  const i64* begin;  // [words]
  const i64* end;    // [words]
  const i64* place;  // [words]
  u32* symbols;      // [bytes of all words], the symbol of each token
  u32* starts;       // [bytes of all words], where each token begins in its word
  u32* n_tokens;     // [words], 0: not encoded yet
};

// Memory for the work on long words: word k has the elements from place[k] on, and the tiles from tile[k] on (`Rounds` of the
// launcher). The place of a symbol is that of its first byte.
struct Rounds {
  const i64* place;  // [long words]
  const i64* tile;   // [long words]
  u32* symbols;      // NONE: the symbol became a part of an earlier one
  u32* ranks;        // the rank of a symbol and the next one, or NONE
  u32* before;       // the place of the previous symbol, NONE for the first symbol
  u32* after;        // the place of the next symbol, the length of the word for the last symbol
  u32* list;         // first symbols of chains, from the front; new symbols, from the back
  u32* least;        // the lowest rank of each tile, or STALE
};

__device__ inline u32 rank_of(const Model& model, u32 left, u32 right) {
  int bits = (int)model.pair_bits, rank_bits = 64 - 2 * bits;
  u64 mask = (u64)model.pair_slots - 1, key = (u64)left << bits | right;
  u64 hash = key * 0x9e3779b97f4a7c15ull;
  u64 at = (hash ^ hash >> 32) & mask, slot = model.pairs[at];
  while (slot >> rank_bits != key) {
    if (slot == FREE) return NONE;
    at = (at + 1) & mask;
    slot = model.pairs[at];
  }
  return (u32)(slot & (((u64)1 << rank_bits) - 1));
}

// Returns n bytes as a number; the first byte becomes the lowest byte.
__device__ inline u64 load_bytes(const u8* text, int n) {
  u64 value = 0;
  for (int i = 0; i < n; i++) value |= (u64)text[i] << 8 * i;
  return value;
}

__device__ inline u64 mix(u64 hash) {
  hash *= 0x9e3779b97f4a7c15ull;
  return hash ^ hash >> 29;
}

// The hash of kernels/cpu/lookup.py, which builds the tables.
__device__ inline u64 hash_string(const u8* text, i64 n) {
  u64 hash = mix((u64)n + 1);
  if (n >= 8) {
    i64 i = 0;
    for (; i + 8 <= n; i += 8) hash = mix(hash ^ load_bytes(text + i, 8));
    if (i < n) hash = mix(hash ^ load_bytes(text + n - 8, 8));
  } else if (n >= 4) {
    hash = mix(hash ^ (load_bytes(text, 4) | load_bytes(text + n - 4, 4) << 32));
  } else if (n > 0) {
    hash = mix(hash ^ ((u64)text[0] | (u64)text[n >> 1] << 8 | (u64)text[n - 1] << 16));
  }
  return mix(hash);
}

// slot[i] = the slot of the word text[starts[i]:starts[i + 1]] in a table. n_over[0]: the number of words without room.
// [at most 64 registers, 0 bytes shared]
extern "C" __global__ void enter_words(const u8* text, const u32* starts, i64 n, u64* keys, u32* tags, i64 capacity, u64* used, u32* slot,
                   u64* n_over) {
  Texts texts = {text, text};  // no word is in an arena
  Table table = {keys, tags, capacity, used, (u64)capacity / 2, nullptr, nullptr};
  for (i64 i = global_index(); i < n; i += global_size()) {
    u64 key = key_of(starts[i], starts[i + 1]);
    i64 found = enter_word(table, texts, key, hash_bytes(key_text(texts, key), key_length(key)));
    if (found == NO_ROOM) atomicAdd(n_over, (u64)1);
    slot[i] = (u32)found;
  }
}

// Encodes the words that are tokens as they are.
// [at most 64 registers, 0 bytes shared]
extern "C" __global__ void find_tokens(const __grid_constant__ Model m, const __grid_constant__ Words w, i64 n) {
  u64 mask = (u64)m.whole_slots - 1;
  for (i64 word = global_index(); word < n; word += global_size()) {
    const u8* text = w.text + w.begin[word];
    i64 size = w.end[word] - w.begin[word];
    if (size == 0 || size > m.longest_whole) continue;
    u64 hash = hash_string(text, size);
    for (u64 at = hash & mask; m.whole[at]; at = (at + 1) & mask) {
      if (m.whole[at] >> 32 != hash >> 32) continue;
      i64 token = (i64)(m.whole[at] & 0xffffffffu) - 1, first = m.whole_offsets[token];
      bool same = m.whole_offsets[token + 1] - first == size;
      for (i64 i = 0; same && i < size; i++) same = m.whole_text[first + i] == text[i];
      if (!same) continue;
      w.symbols[w.place[word]] = (u32)token;
      w.starts[w.place[word]] = 0;
      w.n_tokens[word] = 1;
      break;
    }
  }
}

// todo: the words to encode, which have 1 to SHORT bytes.
// [at most 64 registers, 0 bytes shared]
extern "C" __global__ void encode_short(const __grid_constant__ Model m, const __grid_constant__ Words w, const i64* todo, i64 n) {
  for (i64 i = global_index(); i < n; i += global_size()) {
    i64 word = todo[i], place = w.place[word];
    const u8* text = w.text + w.begin[word];
    int size = (int)(w.end[word] - w.begin[word]);
    u32 symbols[SHORT], starts[SHORT], ranks[SHORT];
    for (int j = 0; j < size; j++) {
      symbols[j] = m.symbols[text[j]];
      starts[j] = (u32)j;
      ranks[j] = NONE;
      if (j) ranks[j - 1] = rank_of(m, symbols[j - 1], symbols[j]);
    }
    while (true) {
      int at = 0;
      for (int j = 1; j < size; j++)
        if (ranks[j] < ranks[at]) at = j;
      if (ranks[at] == NONE) break;
      symbols[at] = m.merged[ranks[at]];
      size--;
      for (int j = at + 1; j < size; j++) {
        symbols[j] = symbols[j + 1];
        starts[j] = starts[j + 1];
        ranks[j] = ranks[j + 1];
      }
      ranks[at] = at + 1 < size ? rank_of(m, symbols[at], symbols[at + 1]) : NONE;
      if (at) ranks[at - 1] = rank_of(m, symbols[at - 1], symbols[at]);
    }
    for (int j = 0; j < size; j++) {
      w.symbols[place + j] = symbols[j];
      w.starts[place + j] = starts[j];
    }
    w.n_tokens[word] = (u32)size;
  }
}

// todo: the words to encode, which have 1 to 32 bytes. Blocks consist of whole warps.
// [at most 64 registers, 0 bytes shared]
extern "C" __global__ void encode_middle(const __grid_constant__ Model m, const __grid_constant__ Words w, const i64* todo, i64 n) {
  int lane = (int)(threadIdx.x % WARP);
  u32 self = 1u << lane, above = ~((self << 1) - 1);
  for (i64 i = global_index() / WARP; i < n; i += global_size() / WARP) {
    i64 word = todo[i], place = w.place[word];
    i64 size = w.end[word] - w.begin[word];
    u32 symbol = lane < size ? m.symbols[w.text[w.begin[word] + lane]] : NONE, rank = NONE;
    u32 alive = ALL_LANES >> (WARP - size);  // lanes that have a symbol
    u32 changed = alive;                     // lanes whose pair is new
    while (true) {
      u32 behind = alive & above;
      u32 right = (u32)__shfl_sync(ALL_LANES, symbol, behind ? (__ffs((int)behind) - 1) : lane);
      if (changed & self) rank = behind ? rank_of(m, symbol, right) : NONE;
      u64 least = warp_min((u64)rank << 5 | (u64)lane);
      if (least >> 5 == NONE) break;
      u32 at = 1u << (least & 31), gone = alive & ~((at << 1) - 1);
      gone &= ~gone + 1;  // the lowest of these lanes: it has the right part
      alive &= ~gone;
      if (self == at) symbol = m.merged[least >> 5];
      if (self == gone) rank = NONE;
      u32 before = alive & (at - 1);
      changed = at | (before ? 1u << (63 - __clzll((i64)before)) : 0);
    }
    if (alive & self) {
      i64 token = __popc(alive & (self - 1));
      w.symbols[place + token] = symbol;
      w.starts[place + token] = (u32)lane;
    }
    if (lane == 0) w.n_tokens[word] = (u32)__popc(alive);
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

__device__ inline void store_rank(const LongWord& word, u32 place, u32 rank) {
  atomicExch(&word.ranks[place], rank);  // two neighbours may store the same rank
  atomicExch(&word.least[place / TILE], STALE);
}

// Looks for the first place in the chain from `place` on at which a merge makes a pair of a lower rank, and lowers *last to that
// place.
__device__ inline void find_last(const Model& m, const LongWord& word, u32 place, u32 rank, u32 token, u32* last) {
  u32 before = word.before[place], left = NONE;
  if (before != NONE) {
    u32 pair = word.before[before];  // if this pair has the rank, it is merged before
    left = pair != NONE && word.ranks[pair] == rank ? token : word.symbols[before];
  }
  while (true) {
    u32 right = word.after[place], behind = word.after[right];
    bool lower = left != NONE && rank_of(m, left, token) < rank;
    if (behind < word.size) lower |= rank_of(m, token, word.symbols[behind]) < rank;
    if (lower) atomicMin(last, place);
    if (lower || word.ranks[right] != rank || word.ranks[behind] != rank) return;
    place = behind;
    left = token;
  }
}

// Merges every other pair of the chain that begins at `place`, up to the place `last`.
__device__ inline void merge_chain(const LongWord& word, u32 place, u32 rank, u32 token, u32 last, u32* n_made) {
  bool goes_on = place <= last;
  while (goes_on) {
    u32 right = word.after[place], behind = word.after[right];
    goes_on = word.ranks[right] == rank && word.ranks[behind] == rank && behind <= last;
    word.symbols[place] = token;
    word.symbols[right] = NONE;
    word.after[place] = behind;
    if (behind < word.size) word.before[behind] = place;
    store_rank(word, right, NONE);
    word.list[word.size - 1 - atomicAdd(n_made, 1u)] = place;
    place = behind;
  }
}

// todo: the long words to encode. A block has BLOCK threads, and takes a word. A round looks once at each tile. A word has at most
// as many rounds as ranks occur in it, and one more for each merge that makes a pair of a lower rank.
// [at most 64 registers, 544 bytes shared]
extern "C" __global__ void encode_long(const __grid_constant__ Model m, const __grid_constant__ Words w, const __grid_constant__ Rounds r, const i64* todo, i64 n) {
  __shared__ u32 lowest[1];
  __shared__ u32 last[1];
  __shared__ u32 n_heads[1];
  __shared__ u32 n_made[1];
  __shared__ u32 counts[BLOCK];
  u32 thread = (u32)threadIdx.x;
  for (i64 i = blockIdx.x; i < n; i += gridDim.x) {
    i64 number = todo[i], place = r.place[i];
    const u8* text = w.text + w.begin[number];
    u32 size = (u32)(w.end[number] - w.begin[number]), n_tiles = (size + TILE - 1) / TILE;
    LongWord word = {size,           r.symbols + place, r.ranks + place,  r.before + place,
                     r.after + place, r.list + place,    r.least + r.tile[i]};
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
        lowest[0] = last[0] = NONE;
        n_heads[0] = n_made[0] = 0;
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
      least = (u32)warp_min(least);
      if (thread % WARP == 0) atomicMin(&lowest[0], least);
      __syncthreads();
      u32 rank = lowest[0];
      if (rank == NONE) break;
      u32 token = m.merged[rank];
      for (u32 tile = thread; tile < n_tiles; tile += BLOCK) {
        if (word.least[tile] != rank) continue;
        u32 end = (tile + 1) * TILE < size ? (tile + 1) * TILE : size;
        for (u32 p = tile * TILE; p < end; p++) {
          bool heads = word.ranks[p] == rank && (word.before[p] == NONE || word.ranks[word.before[p]] != rank);
          if (heads) word.list[atomicAdd(&n_heads[0], 1u)] = p;
        }
      }
      __syncthreads();
      for (u32 j = thread; j < n_heads[0]; j += BLOCK) find_last(m, word, word.list[j], rank, token, last);
      __syncthreads();
      for (u32 j = thread; j < n_heads[0]; j += BLOCK)
        merge_chain(word, word.list[j], rank, token, last[0], n_made);
      __syncthreads();
      for (u32 j = thread; j < n_made[0]; j += BLOCK) {
        u32 p = word.list[size - 1 - j], before = word.before[p], behind = word.after[p];
        store_rank(word, p, behind < size ? rank_of(m, token, word.symbols[behind]) : NONE);
        if (before != NONE) store_rank(word, before, rank_of(m, word.symbols[before], token));
      }
      __syncthreads();
    }
    u32 share = (size + BLOCK - 1) / BLOCK, first = thread * share < size ? thread * share : size;
    u32 stop = first + share < size ? first + share : size, count = 0;
    for (u32 p = first; p < stop; p++) count += word.symbols[p] != NONE;
    counts[thread] = count;
    __syncthreads();
    i64 at = w.place[number];
    for (u32 j = 0; j < thread; j++) at += counts[j];
    for (u32 p = first; p < stop; p++) {
      if (word.symbols[p] == NONE) continue;
      w.symbols[at] = word.symbols[p];
      w.starts[at++] = p;
    }
    if (thread == BLOCK - 1) w.n_tokens[number] = (u32)(at - w.place[number]);
  }
}

// ids[rows[i]:rows[i + 1]] = the ids of the first tokens of the word which[i] (null: of the word i). starts[...] = where each token
// begins in the text, in which the word begins at first[i]; starts may be null. Blocks consist of whole warps.
// [at most 64 registers, 0 bytes shared]
extern "C" __global__ void gather_tokens(const __grid_constant__ Model m, const __grid_constant__ Words w, const i64* which, const i64* rows, i64 n, const i64* first,
                     u32* ids, i64* starts) {
  int lane = (int)(threadIdx.x % WARP);
  for (i64 group = global_index() / WARP; group * WARP < n; group += global_size() / WARP) {
    i64 i = group * WARP + lane;
    i64 from = 0, to = 0, size = 0;
    if (i < n) {
      from = w.place[which ? which[i] : i];
      to = rows[i];
      size = rows[i + 1] - to;
    }
    bool together = size > WARP;
    for (i64 j = 0; !together && j < size; j++) {
      ids[to + j] = m.ids[w.symbols[from + j]];
      if (starts) starts[to + j] = first[i] + w.starts[from + j];
    }
    for (u32 rest = __ballot_sync(ALL_LANES, together); rest; rest &= rest - 1) {  // all lanes copy a long run
      int owner = (__ffs((int)rest) - 1);
      i64 source = (i64)__shfl_sync(ALL_LANES, (u64)from, owner), target = (i64)__shfl_sync(ALL_LANES, (u64)to, owner);
      i64 length = (i64)__shfl_sync(ALL_LANES, (u64)size, owner);
      for (i64 j = lane; j < length; j += WARP) {
        ids[target + j] = m.ids[w.symbols[source + j]];
        if (starts) starts[target + j] = first[group * WARP + owner] + w.starts[source + j];
      }
    }
  }
}
