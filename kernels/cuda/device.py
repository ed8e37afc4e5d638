"""Describes a CUDA device to the launchers: an array module, and a function that launches a kernel by its name.

On a GPU the array module is CuPy. The tests use NumPy and an emulator instead; the launchers are the same.

A device has two lanes. A lane has a stream for work, a stream for copies, and pinned memory of a fixed size. A thread
that works on the device holds a lane. So the number of threads decides neither about pinned memory nor about batches.

Large text files are read into pinned memory of CuPy's pool (`Device.host_memory`), and copied to the device from there.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import itertools
import pathlib
import re
import threading
import weakref
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

SOURCES = pathlib.Path(__file__).parent
CUBINS = SOURCES / "cubins"  # in a wheel: the machine code of the kernels (kernels/wheel/cubins.py)
LANES = 2  # of a device: copies of one batch overlap with the kernels of another batch
PADDING_BYTES = 16  # after each array of an upload, since kernels load text by whole words of 8 bytes
_REGISTERS = 1 << 16  # of a multiprocessor; a thread has a multiple of eight
_OUT_OF_MEMORY = 2  # cudaErrorMemoryAllocation


class DeviceSizes(NamedTuple):
    """How much a device takes at a time."""

    batch: int = 64 << 20  # bytes of text of a batch; each lane of the device has one batch at a time
    tile: int = 256  # bytes of text that a thread takes
    longest_run: int = 1 << 20  # bytes that one thread walks, at most, which take some 0.1 s
    slots: int = 1 << 16  # of the table of distinct words, as long as there are few
    piece: int = 8 << 20  # bytes that are copied at a time; CuPy rounds pinned memory up to a power of two
    block: int = 2 << 20  # bytes of text that are read at a time
    rounds_per_look: int = 16  # of training that are launched before the host looks at what is wanted
    pair_slots: int = 1 << 16  # of the table of pairs, as long as there are few
    candidates: int = 4096  # pairs that a threshold should leave, if there are enough
    # Room for candidates. Pairs are born until there is no room, and each round reads all candidates: with 1 << 16, a
    # round on 20 MB of English read 20,900 of them, not 3,900
    candidate_room: int = 1 << 13
    # The most bytes of text that gets memory for a word and an id for each byte, some 150 bytes, so that the host
    # need not look how many words and ids there are
    bounded: int = 1 << 20
    # Bytes that stay reserved between calls for tokenizers whose tables are on a device, and bytes of such tables
    kept: int = 256 << 20
    # The most threads of a multiprocessor that a launch fills. A multiprocessor holds 2,048 (sm_80, 90 and 100), 1,536
    # (sm_86 and 120) or 1,024 (sm_75)
    threads: int = 2048


SIZES = DeviceSizes()


class Device(NamedTuple):
    """An array module, functions for memory, and `launch(file, kernel, blocks, threads, structs)`.

    A kernel takes structs by value: NamedTuples (`structs_of`), or what `packed` makes of them. With `together=True`
    all blocks are resident at the same time, so they may wait for each other.

    Of the array module only `empty`, `zeros`, `asarray` (of NumPy arrays), slices, `view` and the types are used.
    Anything else would be a kernel of CuPy, which NVRTC would have to compile (tests/cuda/test_cupy_names.py).
    """

    name: str  # of the card
    xp: ModuleType
    launch: Callable[..., None]
    blocks: int  # of 128 threads, which fill the device; each thread of a kernel takes one item after the other
    # `with active() as lane`: this context holds a lane of the device; arrays are made, and all else is called, in it.
    # When it ends, other lanes may use its arrays: it waits for its work, but not with `waits=False`.
    # `with active(lane)`: the same in a thread that helps the thread which holds the lane.
    active: Callable[..., AbstractContextManager[Any]]
    # Begins to copy NumPy arrays, or lists of arrays that become one array. The result returns the copies; kernels that
    # are launched after its call wait for them.
    upload: Callable[[tuple[Any, ...]], Callable[[], tuple[Any, ...]]]
    download: Callable[[Any], np.ndarray]
    all_ones: Callable[[int, Any], Any]  # an array of a length and a type, all bits set: free slots of a table
    longer: Callable[[Any, int], Any]  # copies an array to the beginning of a longer one, of a given length
    # uint8[n] on the host, for text that is to be uploaded: pinned memory, if n is about a block and there is some.
    host_memory: Callable[[int], np.ndarray] = functools.partial(np.empty, dtype=np.uint8)
    # `with in_use()`: memory of the device that was used stays reserved for the next work, until the last such block
    # ends. `in_use(True)`, for tables: `DeviceSizes.kept` of it stays reserved between blocks of the other kind.
    in_use: Callable[..., AbstractContextManager[Any]] = contextlib.nullcontext
    # Copies arrays for others, who take them by DLPack and use them on any stream and for any time.
    lasting: Callable[..., list[Any]] = lambda *arrays: [np.copy(array) for array in arrays]
    sizes: DeviceSizes = SIZES


def structs_of(file: str, names: str) -> list[Any]:
    """Returns NamedTuples with the fields of structs of a .cu file. By default, pointers are None and numbers 0.

    >>> structs_of("bits.cu", "Sums")[0]._fields
    ('sums', 'n')
    """
    text = re.sub("//.*", "", (SOURCES / file).read_text())
    fields = dict(re.findall(r"^struct (\w+) {\n(.*?)^};", text, re.MULTILINE | re.DOTALL))
    found = {name: dict(map(reversed, re.findall(r"(\*?) (\w+);", fields[name]))) for name in names.split()}
    return [
        collections.namedtuple(name, its, defaults=[None if star else 0 for star in its.values()])
        for name, its in found.items()
    ]


def packed(struct: tuple) -> np.ndarray:
    """Returns the bytes of a struct on the host: 64 bits for each address or whole number.

    The array has one element, void[8 * fields], since CuPy passes only arrays of one element by value. The caller keeps
    the arrays of the struct until a kernel is launched with it.
    """
    numbers = [0 if field is None else field if isinstance(field, int) else address(field) for field in struct]
    return np.array(numbers, np.uint64).view(np.dtype((np.void, 8 * len(numbers))))


def indexes(array: np.ndarray) -> np.ndarray:
    """Returns offsets in text as uint32, which is what kernels take.

    Raises:
        MemoryError: The last one has more than 31 bits.
    """
    if len(array) and array[-1] >= 1 << 31:
        raise MemoryError(
            f"a document of {array[-1]:,} bytes is too long for a GPU: encode or count it with device='cpu'"
        )
    return array.astype(np.uint32)


def address(array: Any) -> int:
    """Returns the address of the elements of a CuPy or NumPy array."""
    return array.data.ptr if hasattr(array.data, "ptr") else array.ctypes.data


def number(device: Device, array: Any, index: int = -1) -> int:
    """Returns an element of an array of a device: a look, for which the host waits."""
    at = index % len(array)
    return int(device.download(array[at : at + 1])[0])


def launch(device: Device, file: str, kernel: str, *structs: tuple, n: int | None = None) -> None:
    """Launches a kernel whose threads take one of n items after the other; n: None if the host does not know it."""
    n_blocks = device.blocks if n is None else min(device.blocks, -(-n // 128))
    if n_blocks:
        device.launch(file, kernel, n_blocks, 128, structs)


def parts_of(array: np.ndarray | Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    """Returns the arrays that an item of an upload consists of."""
    return [array] if isinstance(array, np.ndarray) else array


def _event(cupy: ModuleType) -> Any:
    """Returns an event for which a thread of the host sleeps, and does not keep a core busy."""
    return cupy.cuda.Event(block=True, disable_timing=True)


class _Lane:
    """Two streams, and four pieces of pinned memory, two for each direction."""

    def __init__(self, cupy: ModuleType, piece: int) -> None:
        self.working, self.copying = (cupy.cuda.Stream(non_blocking=True) for _ in range(2))
        try:
            # Each: pinned memory, through which a piece of an array is copied; and the event after the last copy
            pieces = [(cupy.cuda.alloc_pinned_memory(piece), _event(cupy)) for _ in range(4)]
        except cupy.cuda.runtime.CUDARuntimeError as error:
            if error.status != _OUT_OF_MEMORY:
                raise
            raise MemoryError(
                f"{4 * piece >> 20} MiB of pinned host memory can't be had for the GPU ({error}): free host "
                "memory, raise the limit of locked memory (ulimit -l), or use device='cpu'"
            ) from error
        self._ended = _event(cupy), _event(cupy)
        self.up, self.down = itertools.cycle(pieces[:2]), itertools.cycle(pieces[2:])
        # Held from taking a piece of `up` until the event after its copy is recorded: two threads may upload at a time
        self.staging = threading.Lock()

    def wait(self) -> None:
        """Waits for all work and all copies."""
        for stream, ended in zip((self.copying, self.working), self._ended, strict=True):
            ended.record(stream)
            ended.synchronize()


class _Lanes:
    """The lanes of a device. A lane is made when it is first needed; one thread at a time holds it."""

    def __init__(self, cupy: ModuleType, piece: int) -> None:
        self._cupy, self._piece, self._idle = cupy, piece, []
        self._free = threading.Semaphore(LANES)

    @contextlib.contextmanager
    def held(self, waits: bool) -> Iterator[_Lane]:
        with self._free:
            # A list's pop and append are atomic.
            lane = self._idle.pop() if self._idle else _Lane(self._cupy, self._piece)
            try:
                yield lane
            except BaseException:  # the caller may free memory of the host from which copies still go on
                lane.wait()
                raise
            else:  # from now on, other streams may use arrays that were made here, and other threads the pinned memory
                if waits:
                    lane.wait()
            finally:
                self._idle.append(lane)

    def wait(self) -> None:
        """Waits for the work of all lanes that nobody holds."""
        for lane in tuple(self._idle):
            lane.wait()


class _Users:
    """Counts who works on a device, and who has tables there. When nobody works, calls free(nobody has tables)."""

    def __init__(self, free: Callable[[bool], None]) -> None:
        # RLock: garbage may be collected while a thread holds the lock, and then tables may end in the same thread
        self._n, self._lock, self._free = {False: 0, True: 0}, threading.RLock(), free

    @contextlib.contextmanager
    def __call__(self, tables: bool = False) -> Iterator[None]:
        with self._lock:
            self._n[tables] += 1
        try:
            yield
        finally:
            with self._lock:
                self._n[tables] -= 1
            self.look()

    def look(self) -> None:
        """Calls `free` if nobody works."""
        with self._lock:
            if self._n[False] == 0:
                self._free(self._n[True] == 0)


class _Loan(NamedTuple):
    """Memory of a device that is lent to another library, see `_Lender`."""

    memory: Any
    # Events by the addresses of streams: the end of what others do on the stream; 0: of the copy that begins the loan
    ends: dict[int, Any]


class DeviceArray:
    """An array on a GPU, of one dimension. `torch.from_dlpack(array)`, and other libraries, take it without a copy.

    Nothing waits on the host: work that the library puts on its stream later finds the elements, and the memory is used
    again only after the work that is on that stream when the library's array ends.
    """

    def __init__(self, cupy: ModuleType, ordinal: int, array: Any, loan: _Loan) -> None:
        self._cupy, self._ordinal, self._array, self._loan = cupy, ordinal, array, loan
        self.shape, self.dtype = array.shape, array.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __dlpack_device__(self) -> tuple[int, int]:
        """Returns the number of CUDA in DLPack, and that of the GPU."""
        return 2, self._ordinal

    def __dlpack__(self, *, stream: int | None = None, **options: Any) -> Any:
        """Exports the array; stream: that of the library, as DLPack numbers it."""
        ready = self._loan.ends[0]
        with self._cupy.cuda.Device(self._ordinal):
            if stream == -1:  # who names no stream gets an array that is ready
                ready.synchronize()
            stream = stream if stream and stream > 0 else 1  # the legacy stream
            self._cupy.cuda.ExternalStream(stream).wait_event(ready)
            self._loan.ends.setdefault(stream, _event(self._cupy))
            return self._array.__dlpack__(stream=-1, **options)


class _Lender:
    """Lends memory of a device to other libraries, for arrays that outlive the work that made them (`Device.lasting`).

    Memory that came back is lent again only when all work on it has ended; nobody waits for that.
    """

    def __init__(self, cupy: ModuleType, ordinal: int, came_back: Callable[[], None]) -> None:
        self._cupy, self._ordinal, self._came_back = cupy, ordinal, came_back
        self._idle: list[_Loan] = []

    @functools.cached_property
    def _stream(self) -> Any:
        """Lent memory is allocated on it: CuPy gives memory again on the same stream only, so here to nobody else."""
        return self._cupy.cuda.Stream(non_blocking=True)

    @property
    def n_idle_bytes(self) -> int:
        """Bytes that are not lent."""
        return sum(loan.memory.nbytes for loan in tuple(self._idle))

    def copy(self, array: Any, working: Any) -> tuple[Any, _Loan]:
        """Copies an array to memory that is lent, and which comes back when nothing refers to the copy."""
        loan, owner = self._take(array.nbytes), type("Owner", (), {})()
        whole = self._cupy.cuda.UnownedMemory(loan.memory.data.ptr, loan.memory.nbytes, owner, self._ordinal)
        weakref.finalize(owner, self._back, loan).atexit = False
        copy = self._cupy.ndarray(array.shape, array.dtype, self._cupy.cuda.MemoryPointer(whole, 0))
        copy.data.copy_from_device_async(array.data, array.nbytes, working)
        return copy, loan

    def trim(self, kept: int) -> None:
        """Gives memory that nobody uses back to CuPy, all but `kept` bytes."""
        n_bytes = self.n_idle_bytes
        for loan in tuple(self._idle):
            if n_bytes > kept and self._is_done(loan):
                self._idle.remove(loan)
                n_bytes -= loan.memory.nbytes

    def _take(self, n_bytes: int) -> _Loan:
        room = 1 << max(9, (n_bytes - 1).bit_length())
        for loan in tuple(self._idle):
            if loan.memory.nbytes == room and self._is_done(loan):
                with contextlib.suppress(ValueError):  # another thread took it
                    self._idle.remove(loan)
                    return _Loan(loan.memory, {0: loan.ends[0]})
        with self._stream:
            memory = self._cupy.empty(room, self._cupy.uint8)
        return _Loan(memory, {0: _event(self._cupy)})

    def _back(self, loan: _Loan) -> None:
        with self._cupy.cuda.Device(self._ordinal) as device:  # each has a legacy stream
            try:
                for stream, end in loan.ends.items():
                    if stream:
                        end.record(self._cupy.cuda.ExternalStream(stream))
            except self._cupy.cuda.runtime.CUDARuntimeError:  # the stream is no more, but its work may go on
                device.synchronize()
        self._idle.append(loan)
        self._came_back()

    @staticmethod
    def _is_done(loan: _Loan) -> bool:
        return all(end.done for end in loan.ends.values())


_making = threading.RLock()  # `functools.cache` alone would let two threads make two devices of one card


def cupy_device(ordinal: int = 0) -> Device:
    """Returns a CUDA device by its number, through CuPy. Kernels are compiled at their first use, and kept on disk."""
    with _making:
        return _made(ordinal)


@functools.cache
def _made(ordinal: int) -> Device:
    return _Card(ordinal).device()


def cubin_for(file: str, major: int, minor: int) -> pathlib.Path | None:
    """Returns the machine code for a device of this version: of its major version, up to its minor one; or None."""
    stem = pathlib.Path(file).stem
    found = {int(path.name.split(".")[-2].removeprefix("sm_")): path for path in CUBINS.glob(f"{stem}.sm_*.cubin")}
    fitting = [each for each in found if each // 10 == major and each % 10 <= minor]
    return found[max(fitting)] if fitting else None


def has_cubins(major: int, minor: int) -> bool:
    """Returns True if a wheel has the machine code of all sources for a device of this compute capability."""
    return all(cubin_for(path.name, major, minor) for path in SOURCES.glob("*.cu"))


class _Card:
    """A CUDA device through CuPy. Its methods are what `Device` has fields for."""

    def __init__(self, ordinal: int) -> None:
        import cupy

        self._cupy, self._ordinal, self._sizes = cupy, ordinal, SIZES
        with cupy.cuda.Device(ordinal) as device:
            n_threads = min(SIZES.threads, device.attributes["MaxThreadsPerMultiProcessor"])
            self._n_multiprocessors = device.attributes["MultiProcessorCount"]
            self._properties = cupy.cuda.runtime.getDeviceProperties(ordinal)
        self.blocks = self._n_multiprocessors * n_threads // 128
        # Not the pool of other programs that use CuPy in this process
        self._pool = cupy.cuda.MemoryPool()
        self._lanes, self._own = _Lanes(cupy, SIZES.piece), threading.local()
        self.in_use = _Users(self._free)
        self._lender = _Lender(cupy, ordinal, self.in_use.look)
        self._modules: dict[str, Any] = {}
        # CuPy's cache identifies a source by its text, without the text of our headers
        headers = zlib.crc32(b"".join(path.read_bytes() for path in sorted(SOURCES.glob("*.cuh"))))
        self._options = ("-std=c++17", f"-I{SOURCES}", f"-DGPUTOK_HEADERS={headers}")
        self._function = functools.cache(self._loaded)

    def device(self) -> Device:
        """Returns the device; each field of which there is no method or attribute here has its default."""
        fields = {field: getattr(self, field) for field in Device._fields if hasattr(self, field)}
        return Device(self._properties["name"].decode(), self._cupy, **fields, sizes=self._sizes)

    def _free(self, all_of_it: bool) -> None:
        with self._cupy.cuda.Device(self._ordinal):
            most = 0 if all_of_it else self._sizes.kept
            if self._pool.free_bytes() + self._lender.n_idle_bytes > most:
                self._lanes.wait()
                self._lender.trim(most // 2)
                self._pool.free_all_blocks()

    def _module(self, file: str, kernel: str) -> Any:
        cubin = cubin_for(file, self._properties["major"], self._properties["minor"])
        if cubin is not None:
            with contextlib.suppress(self._cupy.cuda.driver.CUDADriverError):  # the driver is older than the code
                loaded = self._cupy.RawModule(path=str(cubin))
                loaded.get_function(kernel)  # loads it
                return loaded
        return self._cupy.RawModule(code=(SOURCES / file).read_text(), options=self._options)

    def _loaded(self, file: str, kernel: str) -> tuple[Any, int]:
        """Returns a kernel, and for how many of its threads a multiprocessor has enough registers."""
        with _making:  # two lanes may want the same file at first use: it is loaded or compiled once
            if file not in self._modules:
                self._modules[file] = self._module(file, kernel)
            found = self._modules[file].get_function(kernel)
        return found.kernel, _REGISTERS // (8 * -(-found.num_regs // 8))

    def launch(
        self, file: str, kernel: str, n_blocks: int, n_threads: int, structs: tuple, together: bool = False
    ) -> None:
        values = tuple(packed(each) if isinstance(each, tuple) else each for each in structs)
        run, n_resident = self._function(file, kernel)
        # A block that has to wait for registers would run when others have ended, and the device be half empty
        n_blocks = min(n_blocks, self._n_multiprocessors * (n_resident // n_threads))
        # RawModule has an option for cooperative launches, but it links a library that our own barrier does not need
        run((n_blocks,), (n_threads,), values, enable_cooperative_groups=together)

    @contextlib.contextmanager
    def active(self, lane: _Lane | None = None, waits: bool = True) -> Iterator[_Lane]:
        own, before = self._own, getattr(self._own, "lane", None)
        with self.in_use(), self._cupy.cuda.Device(self._ordinal), contextlib.ExitStack() as stack:
            own.lane = lane = lane or before or stack.enter_context(self._lanes.held(waits))
            try:
                with self._cupy.cuda.using_allocator(self._pool.malloc), lane.working:
                    yield lane
            finally:
                own.lane = before

    def upload(self, arrays: tuple) -> Callable[[], tuple]:
        lane: _Lane = self._own.lane
        with lane.copying:  # the stream that writes the memory first allocates it
            wholes = tuple(map(self._empty_like, arrays))
        result = tuple(whole[: len(whole) - PADDING_BYTES // whole.itemsize] for whole in wholes)
        # The memory may be that of earlier arrays, which kernels still use
        lane.copying.wait_event(lane.working.record(_event(self._cupy)))
        in_use = []  # Pinned memory, until it is copied.
        for array, whole, target in zip(arrays, wholes, result, strict=True):
            # Kernels load the padding, though no result depends on it
            whole[len(target) :].data.memset_async(0, PADDING_BYTES, lane.copying)
            target, at = target.view(np.uint8), 0
            for part in parts_of(array):
                part = np.ascontiguousarray(part).view(np.uint8)
                if self._cupy.cuda.pinned_memory.is_memory_pinned(address(part)):
                    target[at : at + len(part)].set(part, stream=lane.copying)
                    in_use.append(part)
                    at += len(part)
                    continue
                for begin in range(0, len(part), self._sizes.piece):
                    piece = part[begin : begin + self._sizes.piece]
                    with lane.staging:
                        memory, copied = next(lane.up)
                        copied.synchronize()  # the last copy from this piece is done
                        staged = np.frombuffer(memory, np.uint8, len(piece))
                        staged[:] = piece
                        target[at : at + len(piece)].set(staged, stream=lane.copying)
                        lane.copying.record(copied)
                    at += len(piece)
        after = lane.copying.record(_event(self._cupy))

        def arrived() -> tuple:
            lane.working.wait_event(after)
            if in_use:
                after.synchronize()
                in_use.clear()
            return result

        return arrived

    def _empty_like(self, array: np.ndarray | Sequence[np.ndarray]) -> Any:
        parts = parts_of(array)
        size, dtype = sum(map(len, parts)), parts[0].dtype
        return self._cupy.empty(size + PADDING_BYTES // dtype.itemsize, dtype)

    def download(self, array: Any) -> np.ndarray:
        lane: _Lane = self._own.lane
        result, source = np.empty(array.shape, array.dtype), array.view(np.uint8)
        target, waiting = result.reshape(-1).view(np.uint8), []

        def arrive(begin: int, staged: np.ndarray, copied: Any) -> None:
            copied.synchronize()
            target[begin : begin + len(staged)] = staged

        for begin in range(0, len(source), self._sizes.piece):
            piece, (memory, copied) = source[begin : begin + self._sizes.piece], next(lane.down)
            staged = np.frombuffer(memory, np.uint8, len(piece))
            piece.get(stream=lane.working, out=staged, blocking=False)
            lane.working.record(copied)
            waiting.append((begin, staged, copied))
            if len(waiting) == 2:  # the next piece is copied meanwhile
                arrive(*waiting.pop(0))
        for each in waiting:
            arrive(*each)
        return result

    def all_ones(self, n: int, dtype: Any) -> Any:
        array = self._cupy.empty(n, dtype)
        array.data.memset_async(0xFF, array.nbytes, self._own.lane.working)
        return array

    def longer(self, array: Any, n: int) -> Any:
        copy = self._cupy.empty(n, array.dtype)
        copy.data.copy_from_device_async(array.data, array.nbytes, self._own.lane.working)
        return copy

    def lasting(self, *arrays: Any) -> list[DeviceArray]:
        working = self._own.lane.working
        loans = [self._lender.copy(array, working) for array in arrays]
        for _, loan in loans:
            working.record(loan.ends[0])
        return [DeviceArray(self._cupy, self._ordinal, *each) for each in loans]

    def host_memory(self, n_bytes: int) -> np.ndarray:
        block, error = self._sizes.block, self._cupy.cuda.runtime.CUDARuntimeError
        if block // 2 <= n_bytes <= block:
            # Outside of this device, pinning would start device 0. If memory can't be pinned, other memory will do
            with self._cupy.cuda.Device(self._ordinal), contextlib.suppress(error):
                return np.frombuffer(self._cupy.cuda.alloc_pinned_memory(n_bytes), np.uint8, n_bytes)
        return np.empty(n_bytes, np.uint8)
