"""Which device is chosen, and what is said where there is none."""

import sys
import types
import warnings

import pytest

from gputok import backend
from gputok.backend import choose


@pytest.fixture
def machine(monkeypatch):
    """Pretends to be a machine with a driver (or none), CuPy (or none) and so many devices."""

    def pretend(driver, devices=None):
        monkeypatch.delenv("GPUTOK_DEVICE", raising=False)
        monkeypatch.setattr(backend, "_driver_version", lambda: driver)
        runtime = types.SimpleNamespace(getDeviceCount=lambda: devices, CUDARuntimeError=RuntimeError)
        cupy = None if devices is None else types.SimpleNamespace(cuda=types.SimpleNamespace(runtime=runtime))
        monkeypatch.setitem(sys.modules, "cupy", cupy)
        monkeypatch.setattr(
            backend, "_cuda", lambda name, ordinals, reason: backend.Backend(name, reason, (*ordinals,))
        )

    return pretend


def test_auto_takes_a_device_that_answers(machine):
    machine(driver=12, devices=2)
    assert choose().name == choose("auto").name == choose("cuda").name == "cuda"
    assert choose("cuda").devices == (0, 1) and choose("cuda:1").devices == (1,)
    assert choose("cpu").name == "cpu"


def test_auto_leaves_small_inputs_to_the_cpu(machine):
    machine(driver=12, devices=1)
    small = choose("auto", n_bytes=1000)
    assert small.name == "cpu" and "1,000 bytes" in small.reason
    assert choose("auto", n_bytes=backend.SMALL_BYTES).name == "cuda"
    assert choose("cuda", n_bytes=1000).name == "cuda"


def test_a_driver_without_cupy_is_one_line_that_names_the_extra(machine):
    for version in (12, 13):
        machine(driver=version)
        with pytest.warns(UserWarning, match=rf"no CuPy: pip install 'gputok\[cuda{version}\]'") as said:
            assert choose().name == "cpu"
        assert len(said) == 1 and "\n" not in str(said[0].message)
        with pytest.raises(RuntimeError, match=rf"cuda{version}"):
            choose("cuda")


def test_no_driver_is_no_news_unless_cuda_is_asked_for(machine):
    machine(driver=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose().reason == "no NVIDIA driver is installed"
    with pytest.raises(RuntimeError, match='device="cuda:1" can\'t be had: no NVIDIA driver'):
        choose("cuda:1")


def test_a_device_that_is_not_there(machine):
    machine(driver=12, devices=1)
    with pytest.raises(RuntimeError, match="there are 1 CUDA devices, numbered from 0"):
        choose("cuda:1")


def test_the_environment_decides_where_nothing_is_said(machine, monkeypatch):
    machine(driver=12, devices=1)
    monkeypatch.setenv("GPUTOK_DEVICE", "cpu")
    assert choose().reason == "GPUTOK_DEVICE asks for it"
    assert choose("auto").name == "cuda"
    monkeypatch.setenv("GPUTOK_DEVICE", "tpu")
    with pytest.raises(ValueError, match=r"GPUTOK_DEVICE must be .*'tpu'"):
        choose()
