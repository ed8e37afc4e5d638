"""A file is there whole or not at all."""

import os
import subprocess
import sys

import pytest
from children import child

from gputok.files import replacing


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


def test_what_a_killed_run_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    path = tmp_path / "a[1].json"
    code = """
import sys, time
from gputok.files import replacing
with replacing(sys.argv[1]) as beside:
    beside.write_text("half")
    print("written", flush=True)
    time.sleep(100)
"""
    with child([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"written\n"
        with replacing(path) as beside:
            beside.write_text("whole")
        left = [name for name in os.listdir(tmp_path) if name != path.name]
        assert len(left) == 1 and (tmp_path / left[0]).read_text() == "half"  # still at work
    assert os.listdir(tmp_path) != [path.name]
    (tmp_path / ".a[1].json.mine.part").write_text("the name is not one of ours")
    with replacing(path) as beside:
        beside.write_text("whole")
    assert sorted(os.listdir(tmp_path)) == [".a[1].json.mine.part", path.name]
    assert path.read_text() == "whole"
