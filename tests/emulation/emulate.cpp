// Runs CUDA kernels without a GPU: one fiber for each CUDA thread, and a seeded scheduler.
//
// Fibers are switched where CUDA threads meet (barriers, ballots, shuffles) and after atomics, at random: a kernel that
// leans on one order of its threads gives other results under another seed. Shared memory comes from an arena for
// each block. Reported as errors: a barrier that part of a block never reaches, threads waiting at different barriers, lanes of
// a warp that meet at different lines or without all others, threads that look in vain for what no thread writes, and a launch
// in which no thread can go on. With -fsanitize=thread each fiber is a thread to the sanitizer, so that
// unsynchronized accesses are found whether or not a schedule shows them; with -fsanitize=address each has its own stack.
#include "emulate.hpp"

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(GPUTOK_RACES)
extern "C" {
void* __tsan_get_current_fiber(void);
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void __tsan_acquire(void* at);
void __tsan_release(void* at);
}
#define EMULATE_ACQUIRE(at) __tsan_acquire((void*)(at))
#define EMULATE_RELEASE(at) __tsan_release((void*)(at))
#else
#define EMULATE_ACQUIRE(at)
#define EMULATE_RELEASE(at)
#endif

namespace emulate {

const std::size_t STACK_BYTES = 128 << 10;
const std::size_t SHARED_BYTES = 96 << 10;  // a block's shared memory, at least on every architecture we target
const int WARP = 32;
const int MOST_WAITS = 1 << 20;
const int LOOKS = 1 << 8;  // more than a look-up in a table takes, mostly
const std::size_t MOST_SEEN = 64;  // a fence comes soon after what it is for
typedef void (*Kernel)(const u64* arguments);

enum State { READY, AT_BARRIER, AT_WARP, DONE };

struct Fiber;

// Where threads meet again and again, for the thread sanitizer: two marks in turn, so that one that goes on late has not
// seen what the others did until they came to the next meeting.
struct Meetings {
  u64 done = 0;
  char marks[2];
  char* next() { return &marks[done & 1]; }
};

struct Warp {
  Fiber* lanes[WARP];
  u32 all = 0, live = 0, arrived = 0, ballots = 0;
  int line = 0;  // at which the lanes meet
  u64 values[WARP];
  u64 results[WARP];
  u32 ballot = 0;
  Meetings meetings;
};

struct Block {
  i64 index = 0;
  int live = 0, waiting = 0;
  int line = 0;
  std::vector<char> arena;
  std::map<int, std::size_t> begins;  // where the memory of each shared declaration begins
  std::size_t used = 0;
  std::vector<Warp> warps;
  Meetings meetings;
};

// A point to go back to. swapcontext asks the system for a signal mask each time, which is most of its cost, so it serves
// only for a fiber's first step, and where a sanitizer watches longjmp.
struct Point {
  ucontext_t context;
  jmp_buf jump;
  bool left = false;  // by a jump
};

static void go(Point& from, Point& to) {
#if defined(__SANITIZE_ADDRESS__) || defined(GPUTOK_RACES)
  swapcontext(&from.context, &to.context);
#else
  from.left = true;
  if (_setjmp(from.jump)) return;
  if (to.left) _longjmp(to.jump, 1);
  setcontext(&to.context);
#endif
}

struct Fiber {
  Point point;
  std::unique_ptr<char[]> stack;
  State state = DONE;
  Block* block = nullptr;
  int thread = 0;
  void* sanitizer = nullptr;
  bool fenced = false;             // what it writes atomically tells of all that it wrote before
  std::vector<const void*> seen;   // addresses that it read atomically since its last fence
};

struct Machine {
  Point home;
  std::vector<Fiber*> idle, ready;
  Fiber* now = nullptr;
  std::mt19937_64 random;
  Kernel kernel = nullptr;
  const u64* arguments = nullptr;
  i64 grid = 0, size = 0;
  int one_in = 4;  // an atomic gives way to other fibers about every so many times
  int waits = 0;   // looks at what does not change, one after the other
  int looks = 0;   // since a thread last gave way
  std::string error;
  void* home_fiber = nullptr;
  void* home_fake = nullptr;
  const void* home_stack = nullptr;
  std::size_t home_stack_bytes = 0;
};

char began, ended;  // what the sanitizer's happens-before edges hang on

static Machine*& machine() {
  static thread_local Machine* current = nullptr;  // two devices may run at a time, each on a thread of its own
  return current;
}

// Fibers and their stacks outlive a launch: memory that is touched for the first time was most of a small one's cost.
static std::vector<std::unique_ptr<Fiber>>& fibers() {
  static thread_local std::vector<std::unique_ptr<Fiber>> own;
  return own;
}

static void to_home(bool ends) {
  Machine& m = *machine();
  Fiber* fiber = m.now;
#if defined(__SANITIZE_ADDRESS__)
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(ends ? nullptr : &fake, m.home_stack, m.home_stack_bytes);
#endif
#if defined(GPUTOK_RACES)
  __tsan_switch_to_fiber(m.home_fiber, 1);
#endif
  go(fiber->point, m.home);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake, &m.home_stack, &m.home_stack_bytes);
#endif
}

static void fail(const std::string& message) {
  Machine& m = *machine();
  if (m.error.empty()) m.error = message;
}

void give_way() {
  Machine& m = *machine();
  m.waits = m.looks = 0;
  if (m.random() % m.one_in) return;
  m.ready.push_back(m.now);
  to_home(false);
}

// A thread looks again and again at what another is to write. If all do that for long, no thread writes any more.
void wait() {
  Machine& m = *machine();
  if (++m.waits > MOST_WAITS) fail("deadlock: threads wait for what no thread writes");
  m.ready.push_back(m.now);
  to_home(false);
}

void saw(const void* at) {
#if defined(GPUTOK_RACES)
  std::vector<const void*>& seen = machine()->now->seen;
  if (seen.size() == MOST_SEEN) seen.erase(seen.begin(), seen.begin() + MOST_SEEN / 2);
  seen.push_back(at);
#endif
}

// An atomic load. A thread that does nothing else for long may be waiting for another one, and gives way.
void look(const void* at) {
  Machine& m = *machine();
  saw(at);
  if (++m.looks < LOOKS) return;
  m.looks = 0;
  wait();
}

// Before an atomic store. After a fence, it tells those who see it, and then have a fence, of all that was written before.
void wrote(const void* at) {
#if defined(GPUTOK_RACES)
  if (machine()->now->fenced) EMULATE_RELEASE(at);
#endif
}

static void wake_warp(Warp& warp, State waiting) {
  Machine& m = *machine();
  for (int lane = 0; lane < WARP; lane++)
    if (warp.live >> lane & 1 && warp.lanes[lane]->state == waiting) {
      warp.lanes[lane]->state = READY;
      m.ready.push_back(warp.lanes[lane]);
    }
}

static void wake_block(Block* block) {
  block->waiting = 0;
  block->meetings.done++;
  for (Warp& warp : block->warps) wake_warp(warp, AT_BARRIER);
}

void barrier(int line) {
  Machine& m = *machine();
  m.waits = 0;
  Block* block = m.now->block;
  if (block->waiting && block->line != line)
    fail("block " + std::to_string(block->index) + ": threads wait at the barriers of line " +
         std::to_string(block->line) + " and line " + std::to_string(line));
  block->line = line;
  [[maybe_unused]] char* mark = block->meetings.next();
  EMULATE_RELEASE(mark);
  m.now->state = AT_BARRIER;
  if (++block->waiting == block->live) wake_block(block);
  to_home(false);
  EMULATE_ACQUIRE(mark);
}

// All lanes of a warp meet: each leaves a value, and all see every value.
Meeting meet(u64 value, bool vote, int line) {
  Machine& m = *machine();
  m.waits = m.looks = 0;
  Fiber* fiber = m.now;
  Warp& warp = fiber->block->warps[fiber->thread / WARP];
  int lane = fiber->thread % WARP;
  if (warp.live != warp.all || (warp.arrived && warp.line != line))
    fail("block " + std::to_string(fiber->block->index) + ": lanes of a warp meet at line " + std::to_string(line) +
         (warp.live != warp.all ? ", and others have ended" : ", others at line " + std::to_string(warp.line)));
  warp.line = line;
  warp.values[lane] = value;
  warp.ballots = vote ? warp.ballots | 1u << lane : warp.ballots & ~(1u << lane);
  warp.arrived |= 1u << lane;
  [[maybe_unused]] char* mark = warp.meetings.next();
  EMULATE_RELEASE(mark);
  fiber->state = AT_WARP;
  if (warp.arrived == warp.live) {
    warp.arrived = 0;
    warp.meetings.done++;
    warp.ballot = warp.ballots & warp.live;
    std::memcpy(warp.results, warp.values, sizeof(warp.values));
    wake_warp(warp, AT_WARP);
  }
  to_home(false);
  EMULATE_ACQUIRE(mark);
  return Meeting{warp.ballot, warp.results};
}

void* shared(int number, unsigned long bytes) {
  Block* block = machine()->now->block;
  auto found = block->begins.find(number);
  if (found != block->begins.end()) return block->arena.data() + found->second;
  std::size_t at = (block->used + 15) / 16 * 16;
  if (at + bytes > SHARED_BYTES) {
    std::fprintf(stderr, "emulate: more than %zu bytes of shared memory\n", SHARED_BYTES);
    std::abort();
  }
  block->used = at + bytes;
  block->begins[number] = at;
  return block->arena.data() + at;
}

// Two fences order what lies before one and after the other only if a thread wrote atomically after its own, and the other
// one has seen it.
void fence() {
#if defined(GPUTOK_RACES)
  Fiber* fiber = machine()->now;
  fiber->fenced = true;
  for (const void* at : fiber->seen) EMULATE_ACQUIRE(at);
  fiber->seen.clear();
#endif
}

static void fiber_main() {
  Machine& m = *machine();
  EMULATE_ACQUIRE(&began);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &m.home_stack, &m.home_stack_bytes);
#endif
  m.kernel(m.arguments);
  Fiber* fiber = m.now;
  Block* block = fiber->block;
  Warp& warp = block->warps[fiber->thread / WARP];
  warp.live &= ~(1u << fiber->thread % WARP);
  if (block->waiting)
    fail("block " + std::to_string(block->index) + ": a thread ended while others wait at the barrier of line " +
         std::to_string(block->line));
  if (--block->live && block->waiting == block->live) wake_block(block);
  if (warp.arrived)
    fail("block " + std::to_string(block->index) + ": a thread ended while others of its warp wait for it");
  fiber->state = DONE;
  EMULATE_RELEASE(&ended);
  to_home(true);
}

static void start(Fiber* fiber, Block* block, int thread) {
  Machine& m = *machine();
  if (!fiber->stack) fiber->stack.reset(new char[STACK_BYTES]);
  fiber->block = block;
  fiber->thread = thread;
  fiber->state = READY;
  fiber->fenced = false;
  fiber->seen.clear();
  fiber->point.left = false;
  ucontext_t& context = fiber->point.context;
  getcontext(&context);
  context.uc_stack.ss_sp = fiber->stack.get();
  context.uc_stack.ss_size = STACK_BYTES;
  context.uc_link = nullptr;
  makecontext(&context, fiber_main, 0);
#if defined(GPUTOK_RACES)
  if (fiber->sanitizer) __tsan_destroy_fiber(fiber->sanitizer);
  fiber->sanitizer = __tsan_create_fiber(0);
#endif
  m.ready.push_back(fiber);
}

static void resume(Fiber* fiber) {
  Machine& m = *machine();
  m.now = fiber;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&m.home_fake, fiber->stack.get(), STACK_BYTES);
#endif
#if defined(GPUTOK_RACES)
  __tsan_switch_to_fiber(fiber->sanitizer, 1);
#endif
  go(m.home, fiber->point);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(m.home_fake, nullptr, nullptr);
#endif
#if !defined(GPUTOK_RACES)  // there, a stack belongs to one thread
  if (fiber->state == DONE) m.idle.push_back(fiber);
#endif
}

// Runs one launch to its end. `at_once` blocks are resident at a time; a cooperative launch needs all of them.
static void run(Kernel kernel, const u64* arguments, i64 grid, i64 size, i64 at_once, u64 seed, std::string& error) {
  Machine m;
  machine() = &m;
#if defined(GPUTOK_RACES)
  m.home_fiber = __tsan_get_current_fiber();
#endif
  m.kernel = kernel;
  m.grid = grid;
  m.size = size;
  m.random.seed(seed);
  m.one_in = 1 + seed % 7;
  m.arguments = arguments;
  std::vector<std::unique_ptr<Block>> blocks;
  std::vector<i64> order(grid);
  for (i64 i = 0; i < grid; i++) order[i] = i;
  if (seed) std::shuffle(order.begin(), order.end(), m.random);

  i64 next = 0;
  std::vector<Block*> resident;
  auto enter = [&](i64 index) {
    blocks.emplace_back(new Block);
    Block* block = blocks.back().get();
    block->index = index;
    block->live = (int)size;
    block->arena.resize(SHARED_BYTES, (char)0xA5);  // shared memory begins with garbage
    block->warps.resize((size + WARP - 1) / WARP);
    for (int t = 0; t < size; t++) {
      if (m.idle.empty()) {
        fibers().emplace_back(new Fiber);
        m.idle.push_back(fibers().back().get());
      }
      Fiber* fiber = m.idle.back();
      m.idle.pop_back();
      block->warps[t / WARP].live |= 1u << t % WARP;
      block->warps[t / WARP].all |= 1u << t % WARP;
      block->warps[t / WARP].lanes[t % WARP] = fiber;
      start(fiber, block, t);
    }
    resident.push_back(block);
  };
  for (auto& fiber : fibers()) m.idle.push_back(fiber.get());
  EMULATE_RELEASE(&began);
  while (m.error.empty()) {
    for (std::size_t i = 0; i < resident.size();) {
      if (resident[i]->live == 0)
        resident.erase(resident.begin() + i);
      else
        i++;
    }
    while (next < grid && (i64)resident.size() < at_once) enter(order[next++]);
    if (resident.empty()) break;
    if (m.ready.empty()) {
      fail("deadlock: no thread can go on");
      break;
    }
    std::size_t pick = seed ? m.random() % m.ready.size() : 0;
    Fiber* fiber = m.ready[pick];
    m.ready[pick] = m.ready.back();
    m.ready.pop_back();
    resume(fiber);
    if (fiber->state == DONE) m.waits = 0;
  }
  EMULATE_ACQUIRE(&ended);
#if defined(GPUTOK_RACES)
  for (auto& fiber : fibers())
    if (fiber->sanitizer) __tsan_destroy_fiber(fiber->sanitizer);
  fibers().clear();
#endif
  error = m.error;
  machine() = nullptr;
}

Index thread() { return {(u32)machine()->now->thread}; }
Index block() { return {(u32)machine()->now->block->index}; }
Index block_size() { return {(u32)machine()->size}; }
Index grid_size() { return {(u32)machine()->grid}; }

}  // namespace emulate

// Called from Python. Returns 0, or 1 with a message.
extern "C" int emulate_launch(emulate::Kernel kernel, const u64* arguments, i64 grid, i64 size, i64 at_once, u64 seed,
                              char* message, i64 message_bytes) {
  std::string error;
  emulate::run(kernel, arguments, grid, size, at_once, seed, error);
  std::snprintf(message, (std::size_t)message_bytes, "%s", error.c_str());
  return !error.empty();
}
