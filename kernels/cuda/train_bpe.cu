// Training BPE: one merge is five small launches, and the host looks at the result after hundreds of merges.
//
// The unique words are one array of symbols, END behind each. A token of n characters keeps its n places: its id stands
// at its first and last place, and length[id] gives n. The rows of an open-addressing table are the pairs, with their
// 64-bit counts, updated in place and never recounted. Each pair has a list of the words it was born in; the list
// is written once, may name a word twice, and may name words that lost the pair since.
//
//   refresh_tiles   the best pair of each tile of rows that changed since (count falling, pair rising)
//   choose_pair     the best of all tiles, appended to the log; or training is done
//   merge_words     a thread takes a word of the pair's list, if no other thread has taken it for this merge, and
//                   merges in it from left to right; counts change by atomics, births are recorded
//   place_lists     room for the list of each pair that was born
//   fill_lists      records into lists
//
// Integers commute, and each word has one thread: the merges are the same for every schedule.
#include "common.cuh"

const u32 END = 0xffffffff;
const u64 FREE = ~(u64)0;
const int TILE = 256;  // rows that share a best pair, and threads that look for it

// What all kernels work on: a struct of pointers in device memory, in the order of the launcher's `Training`.
struct Training {
  u32* symbols;        // [n]; word w is symbols[begin[w]:begin[w + 1] - 1]
  const i64* begin;    // [words + 1]
  const u64* weight;   // [words], how often each occurs
  u32* stamp;          // [words], the last token for which a thread took the word
  u32* length;         // [vocab_size], characters of each token
  u64* keys;           // [capacity], left << 32 | right, or FREE
  u64* counts;         // [capacity], as two's complement
  u64* list_begin;     // [capacity], where in pool a pair's list of words begins
  u64* list_size;      // [capacity]
  u32* dirty;          // [capacity / TILE], 1 where a count of the tile changed
  u32* best;           // [capacity / TILE], the best row of each tile ...
  u64* best_count;     // [capacity / TILE], ... its count ...
  u64* best_key;       // [capacity / TILE], ... and its pair: choose_pair reads them in order
  u32* pool;           // lists of words
  u32* born;           // [2 * vocab_size], rows entered in this merge
  u32* record_rows;    // [records], pairs born in this merge ...
  u32* record_words;   // [records], ... and the word of each
  u64* log;            // [vocab_size], keys of the merges so far
  u64* state;          // [STATE_SIZE]
};

enum State {
  N_WORDS,
  CAPACITY,  // of the table of pairs, a power of two
  POOL_SIZE,
  RECORDS_SIZE,
  VOCAB_SIZE,
  LEAST,       // min_frequency, at least 1
  MAX_LENGTH,  // pairs of this many characters or more are not counted
  N_TOKENS,
  N_MERGES,
  DONE,  // TRAINED, or FULL: the host makes room and goes on
  ROW,   // of the chosen pair
  N_ROWS,
  POOL_USED,
  N_BORN,
  N_RECORDS,
  STATE_SIZE
};
const u64 TRAINED = 1, FULL = 2;

BOTH u64 pair_key(u32 left, u32 right) { return (u64)left << 32 | right; }
BOTH u64 pair_hash(u64 key) {
  key *= 0x9e3779b97f4a7c15ull;
  return key ^ key >> 29;
}

// The row of a pair, or -1.
DEVICE i64 find_pair(const Training& t, u64 key) {
  i64 mask = (i64)t.state[CAPACITY] - 1, row = (i64)pair_hash(key) & mask;
  while (true) {
    u64 there = load_shared_word(&t.keys[row]);
    if (there == key) return row;
    if (there == FREE) return -1;
    row = (row + 1) & mask;
  }
}

// The row of a pair, new or old. A new one is put on the list `born`. -1: half of the table is full (only the first
// count can find it so; choose_pair makes sure that a merge does not). All threads of a launch may find room for one
// more before any has taken it, so that a table may fill up altogether: one round is looked for, not more.
DEVICE i64 enter_pair(const Training& t, u64 key) {
  i64 capacity = (i64)t.state[CAPACITY], row = (i64)pair_hash(key) & (capacity - 1);
  for (i64 looks = 0; looks < capacity; looks++) {
    u64 there = load_shared_word(&t.keys[row]);
    if (there == FREE) {
      if (load_shared_word(&t.state[N_ROWS]) >= (u64)capacity / 2) return -1;
      there = atomic_cas(&t.keys[row], FREE, key);
      if (there == FREE) {
        atomic_add(&t.state[N_ROWS], (u64)1);
        t.born[atomic_add(&t.state[N_BORN], (u64)1)] = (u32)row;
        return row;
      }
    }
    if (there == key) return row;
    row = (row + 1) & (capacity - 1);
  }
  return -1;
}

DEVICE void change_count(const Training& t, i64 row, u64 change) {
  atomic_add(&t.counts[row], change);
  atomic_exchange(&t.dirty[row / TILE], 1u);
}

DEVICE void give_birth(const Training& t, u32 left, u32 right, u32 word) {
  i64 row = enter_pair(t, pair_key(left, right));
  if (row < 0) {
    atomic_max(&t.state[DONE], FULL);
    return;
  }
  change_count(t, row, t.weight[word]);
  atomic_add(&t.list_size[row], (u64)1);
  u64 record = atomic_add(&t.state[N_RECORDS], (u64)1);
  t.record_rows[record] = (u32)row;
  t.record_words[record] = word;
}

// A pair that the table does not have was too long to be counted.
DEVICE void lose(const Training& t, u32 left, u32 right, u64 weight) {
  i64 row = find_pair(t, pair_key(left, right));
  if (row >= 0) change_count(t, row, (u64)0 - weight);
}

// The pairs of all words, before the first merge; place_lists and fill_lists then make the first lists.
// [at most 48 registers, 0 bytes shared]
KERNEL count_pairs(const Training* training) {
  const Training& t = *training;
  for (i64 word = global_index(); word < (i64)t.state[N_WORDS] && !load_shared_word(&t.state[DONE]);
       word += global_size())
    for (i64 at = t.begin[word]; t.symbols[at + 1] != END; at++)
      give_birth(t, t.symbols[at], t.symbols[at + 1], (u32)word);
}

// Enters the rows of a full table into a larger one, whose arrays are new but for what does not depend on rows.
// [at most 48 registers, 0 bytes shared]
KERNEL move_rows(const Training* from, const Training* to) {
  const Training &old = *from, &t = *to;
  for (i64 i = global_index(); i < (i64)old.state[CAPACITY]; i += global_size()) {
    if (old.keys[i] == FREE) continue;
    i64 row = enter_pair(t, old.keys[i]);
    t.counts[row] = old.counts[i];
    t.list_begin[row] = old.list_begin[i];
    t.list_size[row] = old.list_size[i];
  }
}

struct Best {
  u64* count;  // [TILE], in shared memory
  u64* key;    // [TILE]
  u64* row;    // [TILE], or the tile of the row
};

DEVICE void offer(const Best& best, i64 at, u64 count, u64 key, u64 row) {
  if ((i64)count < (i64)best.count[at] || (count == best.count[at] && key >= best.key[at])) return;
  best.count[at] = count;
  best.key[at] = key;
  best.row[at] = row;
}

// The best of all threads' to thread 0.
DEVICE void reduce(const Best& best) {
  for (i64 half = TILE / 2, i = thread_index(); half; half /= 2) {
    sync_block();
    if (i < half) offer(best, i, best.count[i + half], best.key[i + half], best.row[i + half]);
  }
}

// Blocks of TILE threads, one a tile.
// [at most 48 registers, 6144 bytes shared]
KERNEL refresh_tiles(const Training* training) {
  SHARED(u64, best_count, TILE);
  SHARED(u64, best_key, TILE);
  SHARED(u64, best_row, TILE);
  const Training& t = *training;
  Best best = {best_count, best_key, best_row};
  if (t.state[DONE]) return;
  i64 i = thread_index();
  for (i64 tile = block_index(); tile < (i64)t.state[CAPACITY] / TILE; tile += grid_size()) {
    if (!t.dirty[tile]) continue;  // thread 0 clears it behind barriers that all must reach first
    best_count[i] = 0;
    best_key[i] = FREE;
    best_row[i] = (u64)(tile * TILE);
    u64 row = (u64)(tile * TILE + i);
    if (t.keys[row] != FREE) offer(best, i, t.counts[row], t.keys[row], row);
    reduce(best);
    if (i == 0) {
      t.best[tile] = (u32)best_row[0];
      t.best_count[tile] = best_count[0];
      t.best_key[tile] = best_key[0];
      t.dirty[tile] = 0;
    }
    sync_block();
  }
}

// One block of TILE threads.
// [at most 48 registers, 6144 bytes shared]
KERNEL choose_pair(const Training* training) {
  SHARED(u64, best_count, TILE);
  SHARED(u64, best_key, TILE);
  SHARED(u64, best_row, TILE);
  const Training& t = *training;
  Best best = {best_count, best_key, best_row};
  if (t.state[DONE]) return;
  i64 i = thread_index();
  best_count[i] = 0;
  best_key[i] = FREE;
  best_row[i] = 0;
  for (i64 tile = i; tile < (i64)t.state[CAPACITY] / TILE; tile += TILE)
    offer(best, i, t.best_count[tile], t.best_key[tile], (u64)tile);
  reduce(best);
  if (i) return;
  u64 count = best_count[0], key = best_key[0], row = t.best[best_row[0]], token = t.state[N_TOKENS];
  if (token >= t.state[VOCAB_SIZE] || (i64)count < (i64)t.state[LEAST]) {
    t.state[DONE] = TRAINED;
    return;
  }
  // A merge enters at most two pairs for each token there is, and two records for each time it is applied.
  u64 records = count < t.state[RECORDS_SIZE] / 2 ? 2 * count : t.state[RECORDS_SIZE];
  if (t.state[N_ROWS] + 2 * (token + 1) > t.state[CAPACITY] / 2 || t.state[POOL_USED] + records > t.state[POOL_SIZE]) {
    t.state[DONE] = FULL;
    return;
  }
  t.log[t.state[N_MERGES]] = key;
  t.length[token] = t.length[key >> 32] + t.length[key & 0xffffffffu];
  t.state[N_MERGES] += 1;
  t.state[N_TOKENS] = token + 1;
  t.state[ROW] = row;
  t.state[N_BORN] = 0;
  t.state[N_RECORDS] = 0;
  t.counts[row] = 0;  // merging from left to right leaves none
  t.dirty[row / TILE] = 1;
}

// [at most 64 registers, 0 bytes shared]
KERNEL merge_words(const Training* training) {
  const Training& t = *training;
  if (t.state[DONE]) return;
  u64 row = t.state[ROW], key = t.keys[row];
  u32 a = (u32)(key >> 32), b = (u32)key, token = (u32)t.state[N_TOKENS] - 1;
  for (i64 i = global_index(); i < (i64)t.list_size[row]; i += global_size()) {
    u32 word = t.pool[t.list_begin[row] + i], left = END;
    if (atomic_exchange(&t.stamp[word], token) == token) continue;
    for (i64 at = t.begin[word]; t.symbols[at] != END; at += t.length[left]) {
      i64 middle = at + t.length[t.symbols[at]], end = at + t.length[token];
      if (t.symbols[at] != a || t.symbols[middle] != b) {
        left = t.symbols[at];
        continue;
      }
      u32 right = t.symbols[end];
      if (left != END) {
        if (pair_key(left, a) != key) lose(t, left, a, t.weight[word]);
        if ((u64)t.length[left] + t.length[token] < t.state[MAX_LENGTH]) give_birth(t, left, token, word);
      }
      if (right != END) {
        if (pair_key(b, right) != key) lose(t, b, right, t.weight[word]);
        if ((u64)t.length[token] + t.length[right] < t.state[MAX_LENGTH]) give_birth(t, token, right, word);
      }
      t.symbols[at] = t.symbols[end - 1] = left = token;
    }
  }
}

// [at most 48 registers, 0 bytes shared]
KERNEL place_lists(const Training* training) {
  const Training& t = *training;
  if (t.state[DONE]) return;
  for (i64 i = global_index(); i < (i64)t.state[N_BORN]; i += global_size()) {
    u32 row = t.born[i];
    t.list_begin[row] = atomic_add(&t.state[POOL_USED], t.list_size[row]);
    t.list_size[row] = 0;
  }
}

// [at most 48 registers, 0 bytes shared]
KERNEL fill_lists(const Training* training) {
  const Training& t = *training;
  if (t.state[DONE]) return;
  for (i64 i = global_index(); i < (i64)t.state[N_RECORDS]; i += global_size()) {
    u32 row = t.record_rows[i];
    t.pool[t.list_begin[row] + atomic_add(&t.list_size[row], (u64)1)] = t.record_words[i];
  }
}
