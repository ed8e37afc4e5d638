"""The machine code of the CUDA kernels that a wheel may carry."""

import pytest
from gputok.kernels.cuda.device import SOURCES
from gputok.kernels.wheel import cubins


@pytest.mark.slow
def test_a_cubin_of_each_source_is_written(tmp_path, monkeypatch):
    if cubins.library() is None:
        pytest.skip("pip install nvidia-cuda-nvrtc, to compile CUDA without a GPU")
    names = {path.name for path in cubins.build(tmp_path / "cubins", (75, 90))}
    assert names == {cubins.name_of(path.name, each) for path in SOURCES.glob("*.cu") for each in (75, 90)}
    assert all(path.read_bytes()[:4] == b"\x7fELF" for path in (tmp_path / "cubins").iterdir())
    assert sum(path.stat().st_size for path in (tmp_path / "cubins").iterdir()) < 1_000_000
    monkeypatch.setattr(cubins, "library", lambda: None)
    assert cubins.build(tmp_path / "none") == [] and not (tmp_path / "none").exists()


def test_nvrtc_is_asked_for_only_on_request(monkeypatch):
    from gputok.kernels.wheel import backend

    monkeypatch.setattr(backend.build_meta, "get_requires_for_build_wheel", lambda settings: ["setuptools"])
    for value, wanted in (("0", False), ("1", True)):
        monkeypatch.setenv("GPUTOK_CUBINS", value)
        monkeypatch.delenv("GPUTOK_PURE", raising=False)
        assert (backend.NVRTC in backend.get_requires_for_build_wheel()) == wanted
