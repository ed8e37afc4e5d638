"""A file is there whole or not at all."""

import os

import pytest

from gputok.files.atomic import replacing


def test_the_name_is_taken_at_the_end_and_nothing_is_left_beside(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with replacing(path) as beside:
        beside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_a_broken_off_write_changes_nothing(tmp_path, error):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(error), replacing(path) as beside:
        beside.write_text("ha")
        raise error
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.json"]


def test_links_devices_and_folders(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with replacing(tmp_path / "link") as beside:
        beside.write_text("x")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target").read_text() == "x"
    with replacing("/dev/null") as beside:
        assert str(beside) == "/dev/null"
    with pytest.raises(IsADirectoryError, match="is a folder"), replacing(tmp_path):
        pass
    with (
        pytest.raises(FileNotFoundError, match=r"no folder .*none to write it in"),
        replacing(tmp_path / "none" / "a"),
    ):
        pass
