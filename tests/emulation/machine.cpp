// Runs PTX that was translated to C++ (translate.py) without a GPU: a fiber for each CUDA thread, and a seeded
// scheduler.
//
// Fibers take turns after steps: loads, stores, atomics, jumps back. Each load and store is checked: alignment,
// bounds to the byte, bytes that nobody wrote. So are a barrier that part of a block never reaches or that others
// wait for at another line, lanes of a warp that meet at different lines, without all lanes of their mask or with
// other masks, and a launch in which no thread can go on, or in which none writes any more. The first error ends the
// launch.
//
// Two accesses of a byte by two threads, one of which writes, are a race unless both are atomic or volatile, or one
// comes before the other by a barrier, by bar.warp.sync, or by two fences between which one thread wrote atomically
// what the other saw. Shuffles, ballots and reductions of a warp order nothing.
#include <machine.hpp>

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <unordered_map>

const std::size_t STACK_BYTES = 128 << 10;
const int WARP = 32;
const s64 MOST_LOOKS = 1 << 25;      // steps, in all threads, in which nothing is written
const s64 MOST_STEPS = 1 << 30;
const std::size_t MOST_SEEN = 64;    // a fence comes soon after what it is for
const u32 PAGE = 512;                // bytes whose accesses are noted together

enum State { READY, AT_BARRIER, AT_WARP, DONE };

// For each thread of the grid the time of its accesses until which they come before what is done now.
typedef std::vector<u32> Times;

// An access of a byte.
struct Access {
  u32 thread = ~0u, time = 0, line = 0;
  bool strong = false;
};
struct Byte {
  Access write, reads[2];  // of reads without order, two
};

struct Fiber;
struct Warp {
  Fiber* lanes[WARP] = {};
  u32 all = 0, live = 0, arrived = 0, line = 0, mask = 0;
  u32 given[WARP], found[WARP];
  Times known;
};
struct Block {
  int live = 0, waiting = 0;
  u32 line = 0;
  std::vector<u8> bytes, shadow;
  std::vector<Warp> warps;
  Times known;
  std::unordered_map<u64, std::unique_ptr<Byte[]>> accesses;  // of shared memory
};

// A point to go back to. setcontext asks the system for a signal mask, so it serves only for a fiber's first step.
struct Point {
  ucontext_t context;
  jmp_buf jump;
  bool left = false;  // by a jump
};
static void go(Point& from, Point& to) {
  from.left = true;
  if (_setjmp(from.jump)) return;
  if (to.left) _longjmp(to.jump, 1);
  setcontext(&to.context);
}

struct Fiber : Thread {
  Point point;
  std::unique_ptr<char[]> stack;
  State state = DONE;
  std::vector<u8> own;  // local memory and its shadow
  u32 time = 1;
  bool fenced = false;     // what it writes atomically tells of all that it wrote before
  std::vector<u64> seen;   // addresses that it read atomically since its last fence
  Times known;             // by fences
  u32 id() const { return ctaid * ntid + tid; }
};

// An access of global memory by a thread, for counts.
struct Request {
  u64 at;
  u32 thread, line, size;
};

struct Machine {
  Point home;
  std::deque<Fiber*> ready;
  Fiber* now = nullptr;
  std::mt19937_64 random;
  const Entry* entry = nullptr;
  u32 size = 0, grid = 0, mode = 0;
  s64 given = 1, looks = 0, steps = 0;  // steps: of one turn, since the last write, of the launch
  bool races = false;
  std::vector<Request>* requests = nullptr;
  std::vector<u32> visits;
  std::unordered_map<u64, std::unique_ptr<Byte[]>> accesses;  // of global memory
  std::map<u64, Times> told;  // by atomic writes after a fence
  std::string error;
};
// Two devices may run at a time, each on a thread of its own. Fibers and their stacks outlive a launch.
static thread_local Machine* machine = nullptr;
static thread_local std::vector<std::unique_ptr<Fiber>> fibers;

static Fiber& fiber_of(Thread& thread) { return static_cast<Fiber&>(thread); }
static void to_home() { go(::machine->now->point, ::machine->home); }

static std::string line_of(u32 line) { return "line " + std::to_string(line); }

// Ends the launch. The line is one of the PTX; 0: not known.
static void fail(u32 line, const Thread& thread, const std::string& what) {
  std::string where = "block " + std::to_string(thread.ctaid) + ", thread " + std::to_string(thread.tid) + ": ";
  machine->error = (line ? line_of(line) + ", " : "") + where + what;
  to_home();  // for good
}
void Thread::fail(u32 line, const char* what) { ::fail(line, *this, what); }

void Thread::give_way() {
  Machine& m = *machine;
  m.looks += m.given, m.steps += m.given;
  if (m.looks > MOST_LOOKS) ::fail(0, *this, "deadlock: threads wait for what no thread writes");
  if (m.steps > MOST_STEPS) ::fail(0, *this, "it does not end");
  m.mode == 1 ? m.ready.push_front(m.now) : m.ready.push_back(m.now);
  to_home();
}

// -- order

static void join(Times& into, const Times& more) {
  if (more.empty()) return;
  if (into.empty()) into.resize(more.size());
  for (std::size_t i = 0; i < more.size(); i++) into[i] = std::max(into[i], more[i]);
}

static void tell(Fiber& fiber, Times& all) {  // what it did, and what it knows by fences
  if (all.empty()) all.resize((std::size_t)machine->grid * machine->size);
  join(all, fiber.known);
  all[fiber.id()] = fiber.time++;
}

static bool is_before(const Access& access, const Fiber& now) {
  if (access.thread == ~0u || access.thread == now.id()) return true;
  auto has = [&](const Times& known) { return !known.empty() && access.time <= known[access.thread]; };
  return has(now.block->known) || has(now.warp->known) || has(now.known);
}

static void note(Fiber& fiber, Area& area, u64 offset, u32 size, u32 line, bool reads, bool writes, bool strong) {
  if (area.name[0] == 'l' || area.name[0] == 'p') return;  // a thread's own
  auto& pages = area.name[0] == 'g' ? machine->accesses : fiber.block->accesses;
  auto& page = pages[offset / PAGE];
  if (!page) page.reset(new Byte[PAGE]);
  Access now{fiber.id(), fiber.time, line, strong};
  for (u32 i = 0; i < size; i++) {
    Byte& byte = page[(offset + i) % PAGE];
    for (const Access* other : {&byte.write, &byte.reads[0], &byte.reads[1]}) {
      if ((other != &byte.write && !writes) || (strong && other->strong) || is_before(*other, fiber)) continue;
      std::string what = std::string(writes ? "writes" : "reads") + " " + area.name + " memory in a data race with ";
      fail(line, fiber, what + line_of(other->line));
    }
    if (writes) byte.write = now;
    if (!reads || writes) continue;
    Access& first = byte.reads[0];
    byte.reads[is_before(first, fiber) && (first.thread != now.thread || !strong || first.strong) ? 0 : 1] = now;
  }
}

void Thread::fence() {
  Fiber& fiber = fiber_of(*this);
  fiber.fenced = true;
  for (u64 at : fiber.seen) join(fiber.known, machine->told[at]);
  fiber.seen.clear();
}

static void saw(Fiber& fiber, u64 at) {
  if (fiber.seen.size() == MOST_SEEN) fiber.seen.erase(fiber.seen.begin(), fiber.seen.begin() + MOST_SEEN / 2);
  fiber.seen.push_back(at);
}

static void told(Fiber& fiber, u64 at) {
  if (!fiber.fenced) return;
  Times& all = machine->told[at];
  join(all, fiber.block->known), join(all, fiber.warp->known);
  tell(fiber, all);
}

// -- memory

template <u32 SIZE>
static bool all_written(const u8* shadow) {
  static const u8 WRITTEN[16] = {3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3};
  return !std::memcmp(shadow, WRITTEN, SIZE);
}

// Why an access is wrong; null: it is not.
static const char* why_not(Area& area, u64 at, u32 size, bool reads) {
  u64 offset = at - area.base;
  if (at % size) return "is not aligned";
  if (offset > area.size || area.size - offset < size) return "is out of bounds";
  u8 all = 3;
  for (u32 i = 0; i < size; i++) all &= area.shadow[offset + i];
  return !(all & 1) ? "is out of bounds" : reads && all != 3 ? "was never written" : nullptr;
}

template <u32 SIZE>
static u8* checked(Fiber& fiber, Area& area, u64 at, u32 line, bool reads, bool writes, bool strong) {
  Machine& m = *fiber.machine;
  u64 offset = at - area.base;
  if (at % SIZE || offset > area.size - SIZE || area.size < SIZE || !all_written<SIZE>(area.shadow + offset))
    if (const char* what = why_not(area, at, SIZE, reads)) {
      char text[120];
      std::snprintf(text, sizeof text, "%s %u bytes at %llx of %s memory: it %s", writes ? "writes" : "reads", SIZE,
                    (unsigned long long)at, area.name, what);
      fail(line, fiber, text);
    }
  if (m.races) note(fiber, area, offset, SIZE, line, reads, writes, strong);
  if (m.requests && area.name[0] == 'g') m.requests->push_back({at, fiber.id(), line, SIZE});
  return area.bytes + offset;
}

template <class T>
T Thread::load(Area& area, u64 at, u32 line, bool strong) {
  step();
  T value;
  std::memcpy(&value, checked<sizeof(T)>(fiber_of(*this), area, at, line, true, false, strong), sizeof(T));
  if (strong && machine->races) saw(fiber_of(*this), at);
  return value;
}

template <class T>
void Thread::store(Area& area, u64 at, T value, u32 line, bool strong) {
  step();
  if (strong && machine->races) told(fiber_of(*this), at);
  u8* there = checked<sizeof(T)>(fiber_of(*this), area, at, line, false, true, strong);
  std::memcpy(there, &value, sizeof(T));
  std::memset(area.shadow + (at - area.base), 3, sizeof(T));
  machine->looks = 0;
}

template <class T>
T* Thread::atomic(Area& area, u64 at, u32 line) {
  step();
  return (T*)checked<sizeof(T)>(fiber_of(*this), area, at, line, true, true, true);
}

template <class T>
T Thread::exchanged(Area&, u64 at, T* there, T value) {
  T old = *there;
  if (machine->races) told(fiber_of(*this), at), saw(fiber_of(*this), at);
  if (old != value) machine->looks = 0;
  *there = value;
  return old;
}

#define ACCESSES(T) \
  template T Thread::load<T>(Area&, u64, u32, bool); \
  template void Thread::store<T>(Area&, u64, T, u32, bool);
ACCESSES(u8) ACCESSES(u16) ACCESSES(u32) ACCESSES(u64) ACCESSES(u32x2) ACCESSES(u32x4) ACCESSES(u64x2)
#define ATOMICS(T) \
  template T* Thread::atomic<T>(Area&, u64, u32); \
  template T Thread::exchanged<T>(Area&, u64, T*, T);
ATOMICS(u32) ATOMICS(u64)

// -- meetings

static void wake(Fiber* fiber) {
  fiber->state = READY;
  machine->ready.push_back(fiber);
}

static void wake_block(Block& block) {
  block.waiting = 0;
  for (Warp& warp : block.warps)
    for (Fiber* fiber : warp.lanes)
      if (fiber && fiber->state == AT_BARRIER) {
        if (machine->races) tell(*fiber, block.known), fiber->known.clear();
        wake(fiber);
      }
}

void Thread::barrier(u32 line) {
  machine->looks = 0;
  if (block->waiting && block->line != line)
    ::fail(line, *this, "threads wait at this barrier, others at that of " + line_of(block->line));
  if (block->live != (int)ntid) ::fail(line, *this, "a barrier after threads of the block have ended");
  block->line = line;
  fiber_of(*this).state = AT_BARRIER;
  if (++block->waiting == block->live) wake_block(*block);
  to_home();
}

const u32* Thread::meet(u32 line, u32 value, u32 lanes, bool orders) {
  Machine& m = *machine;
  m.looks = 0;
  u32 own = 1u << tid % WARP;
  if (!(lanes & own)) ::fail(line, *this, "a lane is not in its own mask");
  if (lanes & ~warp->live) ::fail(line, *this, "lanes of a warp meet, and others have ended");
  if (warp->arrived && warp->line != line)
    ::fail(line, *this, "lanes of a warp meet at " + line_of(line) + ", others at " + line_of(warp->line));
  if (warp->arrived && warp->mask != lanes) ::fail(line, *this, "lanes of a warp meet with different masks");
  warp->line = line, warp->mask = lanes, warp->given[tid % WARP] = value, warp->arrived |= own;
  fiber_of(*this).state = AT_WARP;
  if (warp->arrived == lanes) {
    warp->arrived = 0;
    std::memcpy(warp->found, warp->given, sizeof(warp->given));
    for (int i = 0; i < WARP; i++)
      if (lanes >> i & 1) {
        if (orders && m.races) tell(*warp->lanes[i], warp->known);
        wake(warp->lanes[i]);
      }
  }
  to_home();
  return warp->found;
}

// -- launches

static void fiber_main() {
  Fiber& fiber = *machine->now;
  machine->entry->run(fiber);
  Block& block = *fiber.block;
  fiber.warp->live &= ~(1u << fiber.tid % WARP);
  machine->looks = 0;
  if (block.waiting) fail(block.line, fiber, "a thread ended while others wait at the barrier");
  if (fiber.warp->arrived) fail(fiber.warp->line, fiber, "a thread ended while others of its warp wait for it");
  block.live--;
  fiber.state = DONE;
  to_home();
}

static void start(Fiber& fiber) {
  if (!fiber.stack) fiber.stack.reset(new char[STACK_BYTES]);
  fiber.time = 1, fiber.fenced = false, fiber.point.left = false;
  fiber.seen.clear(), fiber.known.clear();
  ucontext_t& context = fiber.point.context;
  getcontext(&context);
  context.uc_stack.ss_sp = fiber.stack.get();
  context.uc_stack.ss_size = STACK_BYTES;
  context.uc_link = nullptr;
  makecontext(&context, fiber_main, 0);
  wake(&fiber);
}

static u32 end_of(const std::vector<Extent>& extents) {
  return extents.empty() ? 0 : extents.back().begin + extents.back().size;
}

// Of memory that begins with nothing written in it.
static Area area_of(const char* name, u8* bytes, u8* shadow, const std::vector<Extent>& extents, u8 state) {
  u32 size = end_of(extents);
  std::memset(shadow, 0, size);
  for (const Extent& each : extents) std::memset(shadow + each.begin, state, each.size);
  return {name, bytes, shadow, 0, size};
}

static Fiber* next_of(std::deque<Fiber*>& ready) {
  Machine& m = *machine;
  if (m.mode >= 2) std::swap(ready[m.random() % ready.size()], ready.front());
  Fiber* found = m.mode == 1 ? ready.back() : ready.front();
  m.mode == 1 ? ready.pop_back() : ready.pop_front();
  if (m.mode >= 2) found->budget = (s64)(m.random() % (u64)m.given);
  else found->budget = m.given;
  return found;
}

static void run(u32 at_once, u64 seed, Area global, Area param) {
  Machine& m = *machine;
  m.random.seed(seed);
  m.mode = seed ? m.random() % 4 : 0;  // 0: the first ready thread goes on, 1: the last one, 2, 3: any
  m.given = (s64)1 << (m.mode >= 2 ? m.random() % 10 : 14);
  std::vector<u32> order(m.grid);
  for (u32 i = 0; i < m.grid; i++) order[i] = i;
  if (seed) std::shuffle(order.begin(), order.end(), m.random);
  std::vector<Fiber*> idle;
  while (fibers.size() < (std::size_t)std::min(at_once, m.grid) * m.size) fibers.emplace_back(new Fiber);
  for (auto& fiber : fibers) idle.push_back(fiber.get());
  std::vector<std::unique_ptr<Block>> resident;
  u32 next = 0, n_shared = end_of(m.entry->shared), n_local = end_of(m.entry->local);
  auto enter = [&](u32 index) {
    resident.emplace_back(new Block);
    Block& block = *resident.back();
    block.live = (int)m.size;
    block.bytes.resize(n_shared), block.shadow.resize(n_shared);
    block.warps.resize((m.size + WARP - 1) / WARP);
    Area shared = area_of("shared", block.bytes.data(), block.shadow.data(), m.entry->shared, 1);
    for (u32 t = 0; t < m.size; t++) {
      Fiber& fiber = *idle.back();
      idle.pop_back();
      Warp& warp = block.warps[t / WARP];
      warp.lanes[t % WARP] = &fiber, warp.all |= 1u << t % WARP, warp.live |= 1u << t % WARP;
      fiber.own.resize(2 * n_local);
      Area local = area_of("local", fiber.own.data(), fiber.own.data() + n_local, m.entry->local, 1);
      u32* visits = m.visits.empty() ? nullptr : &m.visits[(std::size_t)(index * m.size + t) * m.entry->n_visits];
      Thread& thread = fiber;
      thread = {&m, t, m.size, index, m.grid, 0, visits, global, shared, local, param, &block, &warp};
      start(fiber);
    }
  };
  for (;;) {
    while (next < m.grid && resident.size() < at_once) enter(order[next++]);
    if (resident.empty()) return;
    if (m.ready.empty()) {
      m.error = "line " + std::to_string(resident[0]->line) + ": deadlock: no thread can go on";
      return;
    }
    m.now = next_of(m.ready);
    go(m.home, m.now->point);
    if (!m.error.empty()) return;
    if (m.now->state != DONE) continue;
    idle.push_back(m.now);
    if (!m.now->block->live)
      resident.erase(std::find_if(resident.begin(), resident.end(), [&](auto& b) { return b.get() == m.now->block; }));
  }
}

// Called from Python. Returns 0, or 1 with a message. `counts`: null, or who takes requests and visits.
typedef void (*Counts)(const Request*, u64, const u32*, u64);
extern "C" int ptx_launch(const char* name, u32 grid, u32 size, u32 at_once, u64 seed, int races, const u64* structs,
                          const u32* sizes, u32 n_structs, u8* base, u8* shadow, u64 n_bytes, Counts counts,
                          char* message, u64 message_bytes) {
  Machine m;
  machine = &m;
  for (const Entry& each : ENTRIES)
    if (!std::strcmp(each.name, name)) m.entry = &each;
  bool fits = m.entry && m.entry->params.size() == n_structs;
  for (u32 i = 0; fits && i < n_structs; i++) fits = m.entry->params[i].size == sizes[i];
  if (!fits) {
    m.error = "no kernel takes such structs";
  } else {
    std::vector<u8> params(2 * end_of(m.entry->params));
    Area param = area_of("param", params.data(), params.data() + params.size() / 2, m.entry->params, 3);
    for (u32 i = 0; i < n_structs; i++)
      std::memcpy(params.data() + m.entry->params[i].begin, (const void*)structs[i], sizes[i]);
    m.grid = grid, m.size = size, m.races = races != 0;
    std::vector<Request> requests;
    if (counts) m.requests = &requests, m.visits.resize((std::size_t)grid * size * m.entry->n_visits);
    run(at_once, seed, {"global", base, shadow, (u64)base, n_bytes}, param);
    if (counts) counts(requests.data(), requests.size(), m.visits.data(), m.visits.size());
  }
  std::snprintf(message, message_bytes, "%s", m.error.c_str());
  machine = nullptr;
  return !m.error.empty();
}
