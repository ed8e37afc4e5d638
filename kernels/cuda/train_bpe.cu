// Trains BPE in batches. A round merges a batch of pairs at once: the first pairs in the order of merging, as far as
// none of them begins or ends with a part in which another one ends or begins. tests/reference/train_bpe_in_batches.py
// proves that this is exact. A round consists of four launches:
//
//   choose_batch    one block puts the first candidates in order, and takes the batch from them
//   find_matches    a thread takes a symbol, and looks whether a pair of the batch begins there
//   change_counts   a thread takes a match, and changes the counts of the pairs beside it
//   write_tokens    a thread takes a match, and writes the new token; then a new pair, which may become a candidate
//
// After some rounds the host looks at the state: it enlarges the table, lowers the threshold, and closes gaps.
//
// One array of symbols contains all distinct words, with END before, between and after them. A token takes one symbol
// or more. The first is its id, the last its id with the bit TAIL, which the symbols between have, too. So neighbours
// are found without links, and a merge writes three symbols. If many are left over, `close_gaps` gives each token one.
//
// A row of an open-addressing table is a pair with a 64-bit count, which is changed in place; pairs are never counted
// again. The count rises only in the round in which the pair is born. So the *candidates*, all pairs that reach a
// threshold, stay complete if new pairs are added. As long as one is left, the first of all pairs is a candidate.
//
// Additions of integers commute, and matches of a round don't overlap. So the merges are the same for every schedule.
#include "common.cuh"

const u32 END = 0xffffffff;  // the symbol between words
const u32 INSIDE = 0xfffffffe;  // the first symbol of a former right part
const u32 TAIL = 0x80000000;  // the bit of all symbols of a token but its first
const u32 NONE = 0xffffffff;  // no token
const u32 NO_ROW = 0xffffffff;  // no row, since the table has at most 2^31 rows
const u64 FREE = ~(u64)0;
const u32 CHOOSERS = 256;  // threads of choose_batch
const u32 MOST = 256;  // pairs that are put in order at a time, and of a batch, at most; not more than CHOOSERS
const u32 SLOTS = 1024;  // of the table of a batch
const u32 STRETCH = 256;  // symbols from one element of first_word to the next
const u32 TALLIES = 512;  // kinds of counts, eight for each power of two

// The memory of a training.
struct Training {
  u32* symbols;           // [n_symbols]
  const u32* begin;       // [n_words], the index of the first symbol of each word
  const u64* weight;      // [n_words], how often each occurs
  const u32* first_word;  // [n_symbols / STRETCH + 2], the word of the first symbol of each stretch, or the one before
  u32* length;            // [vocab_size], characters of each token
  u32* width;             // [vocab_size], symbols that each token takes
  u64* keys;              // [mask + 1], left << 32 | right, or FREE
  u64* counts;            // [mask + 1]
  u32* born;              // [mask + 1], rows that were entered in this round
  u32* candidates;        // [2 * room], rows, in one half or the other
  u32* matches;           // [n_symbols / 2 + 1], the indexes at which pairs of the batch begin
  u32* is_left;           // [vocab_size / 32 + 1], a bit for each token: it is the left part of a pair of the batch
  u32* is_right;          // [vocab_size / 32 + 1], the same for right parts
  u64* batch_keys;        // [SLOTS], pairs of the batch, or FREE ...
  u32* batch_tokens;      // [SLOTS], ... and the tokens that they become
  u64* log;               // [vocab_size], keys of the merges so far ...
  u64* log_counts;        // [vocab_size], ... and their counts when they were chosen
  u64* traits;            // [vocab_size], of each token (see below), if there is a veto
  u64* state;             // [STATE_SIZE]
  alignas(8) u32 n_words;
  alignas(8) u32 n_symbols;   // at most 2^32 - 1
  alignas(8) u32 mask;        // rows of the table of pairs - 1; a power of two of them
  alignas(8) u32 room;        // for candidates
  alignas(8) u32 vocab_size;  // the largest number of tokens
  i64 least;                  // min_frequency, at least 1
  i64 max_length;             // pairs of this many characters or more are not counted
  alignas(8) u32 has_veto;    // 0: all may merge. Testing `traits` for null would make loads generic on sm_100, sm_120
  i64 max_words;              // limits of the veto (gputok.kernels.Veto)
  i64 max_characters;
  alignas(8) u32 colons;      // 1: a token may have a colon before a space
};

// The distinct words of a corpus, which are laid out. A word without pairs is left out.
struct Corpus {
  const u16* narrow;      // [n], the symbols of all words, if they have 16 bits, ...
  const u32* wide;        // ... or else these; the other one is null
  const u32* offsets;     // [n_words + 1], where each word begins
  const u64* counts;      // [n_words]
  u32* sizes;             // [n_words], symbols that each word takes, with the END after it, or 0
  u32* kept;              // [n_words / 32 + 1], a bit for each word that has a pair
  const u32* to;          // [n_words + 1], where the symbols of each word go to, minus 1
  const u32* ranks;       // [n_words / 32 + 1], of `kept`
  const u32* first_word;  // [n / STRETCH + 2], the word of the first symbol of each stretch
  u32* symbols;
  u32* begin;             // [words that are kept]
  u64* weight;            // [words that are kept]
  alignas(8) u32 n;
  alignas(8) u32 n_words;
};

// Where words begin, and for every STRETCH symbols the last word that begins before or at the first of them.
struct Stretches {
  const u32* begin;  // [n_words]
  u32* first_word;   // [n]
  alignas(8) u32 n_words;
  alignas(8) u32 n;
};

// How many pairs have counts of each kind.
struct Tally {
  u64* of_kind;  // [TALLIES]
};

// Symbols that are copied without gaps.
struct Gaps {
  u32* live;         // [n_symbols / 32, rounded up], a bit for each symbol at which a token begins or a word ends
  const u32* ranks;  // of `live`
  u32* symbols;      // the live symbols
  u32* begin;        // [n_words], where each word begins among them
};

enum State {
  N_TOKENS,
  N_MERGES,
  DONE,          // why the host has to act: one of the words below; kernels do nothing until the host clears it
  N_BATCH,       // pairs of the batch
  THRESHOLD,     // candidates have at least this count
  N_CANDIDATES,
  SIDE,          // the half of `candidates` in which they are
  N_MATCHES,
  N_ROWS,
  ROWS_BEFORE,   // N_ROWS before this round
  N_BORN,
  N_GONE,        // symbols that merges have left over since gaps were closed
  OVERFLOWED,    // 1: `candidates` had no room for a pair
  N_ROUNDS,      // so far; this and the next two are for measurements
  N_PASSES,      // how often candidates were read
  N_READ,        // candidates that were read, in all passes
  STATE_SIZE
};
// TRAINED: no pair is left to merge. FULL: the pairs of this round need a larger table, and no count was changed yet.
// LOW: no candidate is left. CROWDED: `candidates` has too little room.
const u64 TRAINED = 1, FULL = 2, LOW = 3, CROWDED = 4;

__device__ inline u64 pair_key(u32 left, u32 right) { return (u64)left << 32 | right; }
__device__ inline u64 pair_hash(u64 key) {
  key *= 0x9e3779b97f4a7c15ull;
  return key ^ key >> 29;
}

__device__ inline void stop(const Training& t, u64 why) { atomicMax(&t.state[DONE], why); }

// Fields of a trait, as kernels/cpu/veto.py makes them of the strings of the first tokens: 28 bits for the number of
// words, 28 for the number of characters, then flags. The traits of a merged token follow from those of its parts.
const int TRAIT_BITS = 28;
const u64 TRAIT_MOST = ((u64)1 << TRAIT_BITS) - 1;
const u64 BEGINS_WORD = (u64)1 << 56, ENDS_WORD = (u64)1 << 57, BEGINS_SPACE = (u64)1 << 58, ENDS_COLON = (u64)1 << 59;
const u64 COLON_SPACE = (u64)1 << 60;

__device__ inline u64 words_of(u64 left, u64 right) {
  return (left & TRAIT_MOST) + (right & TRAIT_MOST) - (left & ENDS_WORD && right & BEGINS_WORD ? 1 : 0);
}
__device__ inline u64 characters_of(u64 left, u64 right) {
  return (left >> TRAIT_BITS & TRAIT_MOST) + (right >> TRAIT_BITS & TRAIT_MOST);
}
__device__ inline bool has_colon_space(u64 left, u64 right) {
  return (left | right) & COLON_SPACE || (left & ENDS_COLON && right & BEGINS_SPACE);
}

__device__ inline u64 merged_traits(u64 left, u64 right) {
  u64 flags = (left & (BEGINS_WORD | BEGINS_SPACE)) | (right & (ENDS_WORD | ENDS_COLON));
  if (has_colon_space(left, right)) flags |= COLON_SPACE;
  u64 words = words_of(left, right), characters = characters_of(left, right);
  if (characters > TRAIT_MOST) characters = TRAIT_MOST;
  return flags | characters << TRAIT_BITS | (words < TRAIT_MOST ? words : TRAIT_MOST);
}

// Returns true if a pair counts: no limit forbids the token that it becomes. Two initial symbols are never too long.
__device__ inline bool may_merge(const Training& t, u32 left, u32 right) {
  i64 length = (i64)t.length[left] + t.length[right];
  if (length >= t.max_length && length != 2) return false;
  if (!t.has_veto) return true;
  u64 a = t.traits[left], b = t.traits[right];
  return words_of(a, b) <= (u64)t.max_words && characters_of(a, b) < (u64)t.max_characters &&
         (t.colons || !has_colon_space(a, b));
}

// Returns the row of a pair, or NO_ROW if the table does not have the pair. Other threads may enter pairs meanwhile,
// but not this one: a pair that loses an occurrence in this round is not born in this round.
__device__ inline u32 find_pair(const Training& t, u64 key) {
  u32 row = (u32)pair_hash(key) & t.mask;
  while (true) {
    u64 there = load_shared_word(&t.keys[row]);
    if (there == key) return row;
    if (there == FREE) return NO_ROW;
    row = (row + 1) & t.mask;
  }
}

// Returns the row of a pair; if the table does not have it, enters it, and puts it on the list `born`. Returns NO_ROW
// if half of the table is used, which only the first count can find: before a round, the table has room. All threads
// may see room for one more pair before any takes it: so the table may become full, and a search ends after a pass.
__device__ inline u32 enter_pair(const Training& t, u64 key) {
  u32 row = (u32)pair_hash(key) & t.mask;
  for (u32 looks = 0; looks <= t.mask; looks++) {
    u64 there = load_shared_word(&t.keys[row]);
    if (there == FREE) {
      if (load_shared_word(&t.state[N_ROWS]) > t.mask / 2) return NO_ROW;
      there = atomicCAS(&t.keys[row], FREE, key);
      if (there == FREE) {
        atomicAdd(&t.state[N_ROWS], (u64)1);
        t.born[atomicAdd(&t.state[N_BORN], (u64)1)] = row;
        return row;
      }
    }
    if (there == key) return row;
    row = (row + 1) & t.mask;
  }
  return NO_ROW;
}

__device__ inline void gain(const Training& t, u32 left, u32 right, u64 weight) {
  u32 row = enter_pair(t, pair_key(left, right));
  if (row == NO_ROW)
    stop(t, FULL);
  else
    atomicAdd(&t.counts[row], weight);
}

// A pair that the table does not have may not be merged.
__device__ inline void lose(const Training& t, u32 left, u32 right, u64 weight) {
  u32 row = find_pair(t, pair_key(left, right));
  if (row != NO_ROW) atomicAdd(&t.counts[row], (u64)0 - weight);
}

__device__ inline bool begins_token(u32 symbol) { return !(symbol & TAIL); }

// Returns the token that ends before an index, or NONE if a word begins at that index.
__device__ inline u32 token_before(const Training& t, u32 index) {
  u32 symbol = t.symbols[index - 1];
  return symbol == END ? NONE : symbol & ~TAIL;
}

// Returns the last word that begins before or at an index, of the words low to high.
__device__ inline u32 last_word(const u32* begin, u32 low, u32 high, u64 index) {
  return last_of(low, high, [&](u32 word) { return begin[word] <= index; });
}

// Returns the word to which a symbol belongs.
__device__ inline u32 word_of(const Training& t, u32 index) {
  u32 stretch = index / STRETCH;
  return last_word(t.begin, t.first_word[stretch], t.first_word[stretch + 1], index);
}

// [at most 48 registers, 0 bytes shared]
extern "C" __global__ void find_stretches(const __grid_constant__ Stretches s) {
  for (u32 i = global_index(); i < s.n; i += global_size())
    s.first_word[i] = s.n_words ? last_word(s.begin, 0, s.n_words - 1, (u64)i * STRETCH) : 0;
}

// Finds the words that have pairs.
// [at most 48 registers, 0 bytes shared]
extern "C" __global__ void measure_words(const __grid_constant__ Corpus c) {
  u32 lane = threadIdx.x % 32;
  for (i64 first = global_index() - lane; first < c.n_words; first += global_size()) {
    i64 word = first + lane;
    u32 size = word < c.n_words ? c.offsets[word + 1] - c.offsets[word] : 0;
    u32 kept = __ballot_sync(ALL_LANES, size > 1);
    if (lane == 0) c.kept[first / 32] = kept;
    if (word < c.n_words) c.sizes[word] = size > 1 ? size + 1 : 0;
  }
}

// Copies the symbols of words that have pairs.
// [at most 48 registers, 0 bytes shared]
extern "C" __global__ void lay_out(const __grid_constant__ Corpus c) {
  for (i64 i = global_index(); i < c.n; i += global_size()) {
    u32 word = c.first_word[i / STRETCH];
    while (word + 1 < c.n_words && c.offsets[word + 1] <= i) word++;
    if (c.offsets[word + 1] - c.offsets[word] > 1)
      c.symbols[1 + c.to[word] + (u32)i - c.offsets[word]] = c.narrow ? c.narrow[i] : c.wide[i];
  }
}

// Lists the words that have pairs.
// [at most 48 registers, 0 bytes shared]
extern "C" __global__ void list_words(const __grid_constant__ Corpus c) {
  for (i64 word = global_index(); word < c.n_words; word += global_size()) {
    u32 bits = c.kept[word / 32], bit = 1u << (word % 32);
    if (!(bits & bit)) continue;
    u32 rank = c.ranks[word / 32] + (u32)__popc(bits & (bit - 1));
    c.begin[rank] = 1 + c.to[word];
    c.weight[rank] = c.counts[word];
  }
}

// Counts the pairs of all words, before the first merge.
// [at most 48 registers, 0 bytes shared]
extern "C" __global__ void count_pairs(const __grid_constant__ Training t) {
  for (i64 i = global_index(); i < t.n_symbols && !load_shared_word(&t.state[DONE]); i += global_size()) {
    u32 left = t.symbols[i];
    if (!begins_token(left)) continue;
    u32 right = t.symbols[i + 1];
    if (right != END && may_merge(t, left, right)) gain(t, left, right, t.weight[word_of(t, (u32)i)]);
  }
}

// Enters the rows of a table into a larger table. Both trainings share the arrays that do not depend on rows.
// [at most 48 registers, 0 bytes shared]
extern "C" __global__ void move_rows(const __grid_constant__ Training old, const __grid_constant__ Training t) {
  for (i64 i = global_index(); i <= old.mask; i += global_size()) {
    if (old.keys[i] == FREE || old.counts[i] == 0) continue;
    t.counts[enter_pair(t, old.keys[i])] = old.counts[i];
  }
}

// Returns the kind of a count. A larger count has a larger kind, or the same.
__device__ inline int kind_of(u64 count) {
  int power = 63 - __clzll((i64)count);
  return power < 3 ? (int)count : power * 8 + (int)(count >> (power - 3) & 7);
}

// Counts the pairs whose counts are of each kind.
// [at most 48 registers, 2048 bytes shared]
extern "C" __global__ void tally_counts(const __grid_constant__ Training t, const __grid_constant__ Tally tally) {
  __shared__ u32 own[TALLIES];
  for (u32 i = threadIdx.x; i < TALLIES; i += blockDim.x) own[i] = 0;
  __syncthreads();
  for (i64 row = global_index(); row <= t.mask; row += global_size())
    if (t.keys[row] != FREE && t.counts[row]) atomicAdd(&own[kind_of(t.counts[row])], 1u);
  __syncthreads();
  for (u32 i = threadIdx.x; i < TALLIES; i += blockDim.x)
    if (own[i]) atomicAdd(&tally.of_kind[i], (u64)own[i]);
}

// Makes a pair a candidate if its count reaches the threshold.
__device__ inline void consider(const Training& t, u32 row) {
  if (t.counts[row] < t.state[THRESHOLD]) return;
  u64 index = atomicAdd(&t.state[N_CANDIDATES], (u64)1);
  if (index < t.room)
    t.candidates[t.state[SIDE] * t.room + index] = row;
  else
    atomicMax(&t.state[OVERFLOWED], (u64)1);
}

// Makes candidates of all pairs whose counts reach the threshold.
// [at most 48 registers, 0 bytes shared]
extern "C" __global__ void gather_candidates(const __grid_constant__ Training t) {
  for (i64 row = global_index(); row <= t.mask; row += global_size())
    if (t.keys[row] != FREE) consider(t, (u32)row);
}

// Returns the token that a pair of the batch becomes; NONE for other pairs.
__device__ inline u32 merged(const Training& t, u32 left, u32 right) {
  if (!(t.is_left[left >> 5] >> (left & 31) & 1) || !(t.is_right[right >> 5] >> (right & 31) & 1)) return NONE;
  u64 key = pair_key(left, right);
  for (u64 slot = pair_hash(key) % SLOTS;; slot = (slot + 1) % SLOTS) {
    if (t.batch_keys[slot] == key) return t.batch_tokens[slot];
    if (t.batch_keys[slot] == FREE) return NONE;
  }
}

// A pair in the order of merging: the smaller `distance` comes first; of equal ones, the smaller key.
struct Ranked {
  u64 distance;  // the largest count minus the count of the pair
  u64 key;
};

__device__ inline bool before(const Ranked& a, const Ranked& b) {
  return a.distance < b.distance || (a.distance == b.distance && a.key < b.key);
}

// Returns the byte number `level` of `distance` and the key, which are 16 bytes, from the highest byte on.
__device__ inline u32 digit(const Ranked& pair, int level) {
  return (u32)((level < 8 ? pair.distance >> 8 * (7 - level) : pair.key >> 8 * (15 - level)) & 0xff);
}

// Returns true if two pairs have the same bytes before the byte `level`.
__device__ inline bool same_digits(const Ranked& a, const Ranked& b, int level) {
  if (level < 8) return level == 0 || (a.distance ^ b.distance) >> 8 * (8 - level) == 0;
  return a.distance == b.distance && (level == 8 || (a.key ^ b.key) >> 8 * (16 - level) == 0);
}

// What the threads of choose_batch share.
struct Chooser {
  u64 largest[CHOOSERS / 32];  // count of each warp
  u64 distance[MOST];          // the first pairs: the distance of each, ...
  u64 key[MOST];               // ... its key ...
  u32 row[MOST];               // ... and row
  u32 order[MOST];             // the indexes of these pairs, in the order of merging
  u32 tally[CHOOSERS];         // pairs with each value of a byte
  u32 in_warp[CHOOSERS / 32];
  u32 digit;      // the next byte of `end`, ...
  u32 n_before;   // ... and the number of pairs that come before all pairs with this byte
  u32 n_kept;     // candidates that reach the threshold
  u32 n_first;    // pairs in `key`
  u32 n_batch;    // pairs of the batch
};

// Clears what the last batch left.
__device__ inline void clear_batch(const Training& t, Chooser& s, u64 n_merges) {
  for (u32 i = threadIdx.x; i < (u32)t.state[N_BATCH]; i += CHOOSERS) {
    u64 key = t.log[n_merges - 1 - i];
    atomicExch(&t.is_left[key >> 37], 0u);
    atomicExch(&t.is_right[(key & 0xffffffffu) >> 5], 0u);
  }
  for (u32 i = threadIdx.x; i < SLOTS; i += CHOOSERS) t.batch_keys[i] = FREE;
  if (threadIdx.x == 0) {
    s.n_kept = s.n_first = 0;
    s.n_batch = MOST;
  }
  __syncthreads();
}

// Copies the candidates that still reach the threshold to the other half. Returns their number; *most: the top count.
__device__ inline u32 keep_candidates(const Training& t, Chooser& s, const u32* from, u32* to, u64* most) {
  u64 threshold = t.state[THRESHOLD], largest = 0;
  for (u32 i = threadIdx.x; i < (u32)t.state[N_CANDIDATES]; i += CHOOSERS) {
    u64 count = t.counts[from[i]];
    if (count < threshold) continue;
    to[atomicAdd(&s.n_kept, 1u)] = from[i];
    largest = count > largest ? count : largest;
  }
  largest = ~warp_min(~largest);
  if (threadIdx.x % 32 == 0) s.largest[threadIdx.x / 32] = largest;
  __syncthreads();
  for (u32 i = 0; i < CHOOSERS / 32; i++) largest = s.largest[i] > largest ? s.largest[i] : largest;
  *most = largest;
  return s.n_kept;
}

__device__ inline Ranked ranked(const Training& t, u32 row, u64 most) { return {most - t.counts[row], t.keys[row]}; }

// Puts pairs that come before all others into s.distance, s.key and s.row: all `n` of them, or MOST / 4 to MOST, or
// fewer if one more would be too many. They are the pairs before `end`, which is found byte by byte. The pairs before
// `end`, and those that have the bytes of `end` so far, are more than MOST. So one of the next bytes is the first at
// which they become too many. No pair has a larger distance than one that just reaches the threshold. So the bytes that
// are 0 in its distance are skipped. Returns how often the candidates were read.
__device__ inline u32 select_first(const Training& t, Chooser& s, const u32* rows, u32 n, u64 most) {
  Ranked end = {FREE, FREE};
  u32 n_before = 0, n_passes = 0;
  if (n > MOST) end = {0, 0};
  for (int level = __clzll((i64)(most - t.state[THRESHOLD])) / 8; level < 16 && n > MOST; level++) {
    n_passes++;
    s.tally[threadIdx.x] = 0;
    __syncthreads();
    for (u32 i = threadIdx.x; i < n; i += CHOOSERS) {
      Ranked pair = ranked(t, rows[i], most);
      if (same_digits(pair, end, level)) atomicAdd(&s.tally[digit(pair, level)], 1u);
    }
    __syncthreads();
    u32 own = s.tally[threadIdx.x], all, sum = n_before + sum_before<CHOOSERS>(own, s.in_warp, &all);
    if (sum + own > MOST && sum <= MOST) {
      s.digit = threadIdx.x;
      s.n_before = sum;
    }
    __syncthreads();
    if (level < 8)
      end.distance |= (u64)s.digit << 8 * (7 - level);
    else
      end.key |= (u64)s.digit << 8 * (15 - level);
    n_before = s.n_before;
    if (n_before >= MOST / 4) break;  // else two barriers come before `digit` is written again
  }
  for (u32 i = threadIdx.x; i < n; i += CHOOSERS) {
    Ranked pair = ranked(t, rows[i], most);
    if (!before(pair, end)) continue;
    u32 index = atomicAdd(&s.n_first, 1u);
    s.distance[index] = pair.distance;
    s.key[index] = pair.key;
    s.row[index] = rows[i];
  }
  __syncthreads();
  return n_passes + 1;
}

// Puts the first pairs in order. Returns the size of the batch: up to the first pair that meets an earlier one.
__device__ inline u32 order_first(Chooser& s) {
  u32 thread = threadIdx.x, n = s.n_first;
  if (thread < n) {
    Ranked own = {s.distance[thread], s.key[thread]};
    u32 rank = 0;
    for (u32 i = 0; i < n; i++) rank += before({s.distance[i], s.key[i]}, own);
    s.order[rank] = thread;
  }
  __syncthreads();
  if (thread < n) {
    u64 key = s.key[s.order[thread]];
    bool meets = false;
    for (u32 i = 0; i <= thread; i++) {
      u64 other = s.key[s.order[i]];
      meets |= (u32)(other >> 32) == (u32)key || (u32)other == (u32)(key >> 32);
    }
    if (meets) atomicMin(&s.n_batch, thread);
  }
  __syncthreads();
  u32 size = s.n_batch < n ? s.n_batch : n;
  return size == 0 ? 1 : size;  // 0: the first pair consists of two equal tokens
}

// Logs the pair of this thread, and makes it a pair of the batch.
__device__ inline void take_pair(const Training& t, const Chooser& s, u64 n_merges, u32 n_tokens, u64 most) {
  u32 index = s.order[threadIdx.x], token = n_tokens + threadIdx.x;
  u64 key = s.key[index];
  u32 left = (u32)(key >> 32), right = (u32)key;
  t.log[n_merges + threadIdx.x] = key;
  t.log_counts[n_merges + threadIdx.x] = most - s.distance[index];
  t.length[token] = t.length[left] + t.length[right];
  t.width[token] = t.width[left] + t.width[right];
  if (t.has_veto) t.traits[token] = merged_traits(t.traits[left], t.traits[right]);
  t.counts[s.row[index]] = 0;  // no occurrence is left after the merge
  atomicOr(&t.is_left[left >> 5], 1u << (left & 31));
  atomicOr(&t.is_right[right >> 5], 1u << (right & 31));
  u64 slot = pair_hash(key) % SLOTS;
  while (atomicCAS(&t.batch_keys[slot], FREE, key) != FREE) slot = (slot + 1) % SLOTS;
  t.batch_tokens[slot] = token;
}

// Chooses the batch of the next round. One block of CHOOSERS threads.
// [at most 64 registers, 7424 bytes shared]
extern "C" __global__ void choose_batch(const __grid_constant__ Training t) {
  __shared__ Chooser s;
  if (t.state[DONE]) return;
  if (t.state[OVERFLOWED]) {
    __syncthreads();  // all threads have looked
    if (threadIdx.x == 0) stop(t, CROWDED);
    return;
  }
  u64 threshold = t.state[THRESHOLD], side = t.state[SIDE], n_tokens = t.state[N_TOKENS], n_merges = t.state[N_MERGES];
  u64 n_read = t.state[N_CANDIDATES], most;
  u32* kept = t.candidates + (1 - side) * t.room;
  clear_batch(t, s, n_merges);
  u32 n = keep_candidates(t, s, t.candidates + side * t.room, kept, &most);
  if (n == 0 || n_tokens >= t.vocab_size) {
    if (threadIdx.x == 0) stop(t, n_tokens < t.vocab_size && threshold > (u64)t.least ? LOW : TRAINED);
    return;
  }
  u32 n_passes = select_first(t, s, kept, n, most);
  u64 size = order_first(s);
  if (size > t.vocab_size - n_tokens) size = t.vocab_size - n_tokens;
  if (threadIdx.x < size) take_pair(t, s, n_merges, (u32)n_tokens, most);
  if (threadIdx.x) return;  // no barrier is needed: all threads read the state before earlier ones
  t.state[N_TOKENS] = n_tokens + size;
  t.state[N_MERGES] = n_merges + size;
  t.state[N_BATCH] = size;
  t.state[N_CANDIDATES] = n;
  t.state[SIDE] = 1 - side;
  t.state[ROWS_BEFORE] = t.state[N_ROWS];
  t.state[N_MATCHES] = t.state[N_BORN] = 0;
  t.state[N_ROUNDS] += 1;
  t.state[N_PASSES] += 1 + n_passes;
  t.state[N_READ] += n_read + (u64)n * n_passes;
}

// Lists the indexes at which pairs of the batch begin.
// [at most 48 registers, 0 bytes shared]
extern "C" __global__ void find_matches(const __grid_constant__ Training t) {
  if (t.state[DONE]) return;
  u32 lane = threadIdx.x % 32;
  for (i64 first = global_index() - lane; first < t.n_symbols; first += global_size()) {
    i64 index = first + lane;
    bool matches = false;
    u32 left = index < t.n_symbols ? t.symbols[index] : END;
    if (begins_token(left) && t.is_left[left >> 5] >> (left & 31) & 1) {
      u32 step = t.width[left], at = (u32)index;
      u32 right = t.symbols[at + step];
      if (right == left) {
        // In a row of equal tokens, every other one is merged with the next. The thread of the first finds all matches.
        if (token_before(t, at) != left && merged(t, left, left) != NONE)
          for (; t.symbols[at] == left && t.symbols[at + step] == left; at += 2 * step)
            t.matches[atomicAdd(&t.state[N_MATCHES], (u64)1)] = at;
      } else {
        matches = right != END && merged(t, left, right) != NONE;
      }
    }
    u32 all = __ballot_sync(ALL_LANES, matches);
    if (!all) continue;
    u64 begin = 0;
    if (lane == 0) begin = atomicAdd(&t.state[N_MATCHES], (u64)__popc(all));
    begin = __shfl_sync(ALL_LANES, begin, 0);
    if (matches) t.matches[begin + (u64)__popc(all & ((1u << lane) - 1))] = (u32)index;
  }
}

// Returns true if the table has room for all pairs that can be born: at most two for each match, and at most two of
// each new token with each token.
__device__ inline bool has_room(const Training& t) {
  u64 by_matches = 2 * t.state[N_MATCHES], by_tokens = 2 * t.state[N_BATCH] * t.state[N_TOKENS];
  return t.state[ROWS_BEFORE] + (by_matches < by_tokens ? by_matches : by_tokens) <= (u64)t.mask / 2 + 1;
}

// Changes the counts of the pairs beside all matches. Symbols are still those before the round. If two matches are
// neighbours, the thread of the left match changes the counts of the pair between them.
// [at most 64 registers, 0 bytes shared]
extern "C" __global__ void change_counts(const __grid_constant__ Training t) {
  if (load_shared_word(&t.state[DONE])) return;
  if (!has_room(t)) {
    if (global_index() == 0) stop(t, FULL);
    return;
  }
  for (i64 i = global_index(); i < (i64)t.state[N_MATCHES]; i += global_size()) {
    u32 begin = t.matches[i], left = t.symbols[begin];
    u32 middle = begin + t.width[left];
    u32 right = t.symbols[middle], token = merged(t, left, right);
    u64 weight = t.weight[word_of(t, begin)];
    u32 end = middle + t.width[right];
    u32 next = t.symbols[end];
    if (next != END) {
      if (pair_key(right, next) != pair_key(left, right)) lose(t, right, next, weight);
      u32 after = t.symbols[end + t.width[next]], other = after == END ? NONE : merged(t, next, after);
      if (other != NONE) next = other;
      if (may_merge(t, token, next)) gain(t, token, next, weight);
    }
    u32 previous = token_before(t, begin);
    if (previous == NONE) continue;
    u32 beyond = token_before(t, begin - t.width[previous]);
    if (beyond != NONE && merged(t, beyond, previous) != NONE) continue;
    lose(t, previous, left, weight);
    if (may_merge(t, previous, token)) gain(t, previous, token, weight);
  }
}

// Writes the new token of each match, and makes candidates of new pairs.
// [at most 48 registers, 0 bytes shared]
extern "C" __global__ void write_tokens(const __grid_constant__ Training t) {
  if (t.state[DONE]) return;
  for (i64 i = global_index(); i < (i64)t.state[N_MATCHES]; i += global_size()) {
    u32 begin = t.matches[i], left = t.symbols[begin];
    u32 middle = begin + t.width[left];
    u32 right = t.symbols[middle], token = merged(t, left, right);
    t.symbols[middle] = INSIDE;
    t.symbols[middle + t.width[right] - 1] = token | TAIL;
    t.symbols[begin] = token;
  }
  for (i64 i = global_index(); i < (i64)t.state[N_BORN]; i += global_size()) consider(t, t.born[i]);
  if (global_index() == 0) t.state[N_GONE] += t.state[N_MATCHES];
}

// Sets the bit of each symbol at which a token begins or a word ends.
// [at most 48 registers, 0 bytes shared]
extern "C" __global__ void mark_live(const __grid_constant__ Training t, const __grid_constant__ Gaps g) {
  u32 lane = threadIdx.x % 32;
  for (i64 first = global_index() - lane; first < t.n_symbols; first += global_size()) {
    u32 symbol = first + lane < t.n_symbols ? t.symbols[first + lane] : INSIDE;
    u32 bits = __ballot_sync(ALL_LANES, begins_token(symbol) || symbol == END);
    if (lane == 0) g.live[(u32)first >> 5] = bits;
  }
}

// Copies live symbols without gaps.
// [at most 48 registers, 0 bytes shared]
extern "C" __global__ void close_gaps(const __grid_constant__ Training t, const __grid_constant__ Gaps g) {
  for (i64 i = global_index(); i < t.n_symbols; i += global_size()) {
    u32 word = (u32)i >> 5, bit = 1u << ((u32)i & 31), bits = g.live[word];
    if (bits & bit) g.symbols[g.ranks[word] + (u32)__popc(bits & (bit - 1))] = t.symbols[i];
  }
}

// Finds where words begin after gaps are closed. From then on, each token takes one symbol.
// [at most 48 registers, 0 bytes shared]
extern "C" __global__ void move_words(const __grid_constant__ Training t, const __grid_constant__ Gaps g) {
  for (i64 word = global_index(); word < t.n_words; word += global_size()) {
    u32 begin = t.begin[word];
    g.begin[word] = g.ranks[begin >> 5] + (u32)__popc(g.live[begin >> 5] & ((1u << (begin & 31)) - 1));
  }
  for (i64 token = global_index(); token < (i64)t.state[N_TOKENS]; token += global_size()) t.width[token] = 1;
  if (global_index() == 0) t.state[N_GONE] = 0;
}
