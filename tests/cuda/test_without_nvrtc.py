"""All work on a device where CUDA's compiler, NVRTC, is missing: with the machine code of a wheel, nothing is compiled.

In a process of its own, where no module of NVRTC can be imported, and on the stand-in for CuPy, which has no function
that CuPy would have to compile. tests/cuda/test_cupy_names.py looks for such functions in the launchers.
"""

import os
import pathlib
import subprocess
import sys

import pytest
from gputok.kernels.cuda.device import SOURCES
from gputok.kernels.wheel import cubins

import gputok

ROOT = pathlib.Path(__file__).parents[2]

PROGRAM = """
import pathlib, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if "nvrtc" in name:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())

import numpy as np
from gputok.kernels.cuda import device as cuda
from gputok import backend, normalizers
from gputok.recipes import recipe
from tests.emulation import stand_in
from tests.kernels.test_kernels import random_documents

assert stand_in.real is None  # CuPy itself imports NVRTC
stand_in.install(cuda.DeviceSizes(batch=1000, rounds_per_look=2, pair_slots=512))
stand_in.faults.no_compiler = True
cuda.CUBINS = pathlib.Path(sys.argv[1])
documents = [*random_documents(np.random.default_rng(5), 60).strings(), "the<|endoftext|>the e\\u0301"]

def work(device):
    tokenizer, trainer = recipe("bpe", vocab_size=280)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.train_from_iterator(iter(documents), trainer, device=device, progress=False)
    words = tokenizer.count_words(iter(documents), device=device, progress=False)
    ids = [batch.ids for batch in tokenizer.encode_corpus(iter(documents), device=device, progress=False)]
    return tokenizer, dict(words.items()), np.concatenate(ids)

(ours, *found), (theirs, *expected) = work("cuda"), work("cpu")
assert ours.to_str() == theirs.to_str() and found[0] == expected[0] and np.array_equal(found[1], expected[1])
from gputok.pipeline.encode import devices as on_device
on_device._DEVICE_SECONDS = 0  # else the CPU encodes so few documents
there = ours.encode_on_device(documents)
assert there.encoded_by == "cuda"
card = backend.choose("cuda").devices[0]
with card.active():
    expected = np.concatenate([e.ids for e in ours.encode_batch(documents)])
    assert np.array_equal(card.download(there.ids._array), expected)
assert not [name for name in sys.modules if "nvrtc" in name]
print("done")
"""


@pytest.mark.slow
def test_all_work_is_done_without_a_compiler(tmp_path):
    for source in SOURCES.glob("*.cu"):
        (tmp_path / cubins.name_of(source.name, 90)).write_bytes(b"machine code")
    paths = [str(pathlib.Path(gputok.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    settings = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True)
    assert done.stdout == "done\n", done.stderr[-3000:]
    (tmp_path / "bits.sm_90.cubin").unlink()
    done = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True)
    assert "needs CUDA's compiler, NVRTC, which is missing: pip install 'gputok[cuda13]'" in done.stderr
