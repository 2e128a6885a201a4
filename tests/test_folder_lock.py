"""A folder belongs to one command, and to what that command started, at a time."""

import subprocess

import pytest

from hrlrec_tf import folder_lock
from hrlrec_tf.errors import ConfigError
from hrlrec_tf.folder_lock import FolderLock


@pytest.fixture(autouse=True)
def impatient(monkeypatch) -> None:
    monkeypatch.setattr(folder_lock, "_PATIENCE", 0.1)


def test_a_folder_has_one_holder(tmp_path) -> None:
    with FolderLock(tmp_path):
        with pytest.raises(ConfigError, match="another hrlrec works in .*; wait for it"):
            FolderLock(tmp_path).__enter__()
    with FolderLock(tmp_path, "--workdir"):
        with pytest.raises(ConfigError, match="choose another --workdir"):
            FolderLock(tmp_path, "--workdir").__enter__()


def test_a_process_that_inherited_the_lock_holds_it_on(tmp_path) -> None:
    with FolderLock(tmp_path) as lock:
        heir = subprocess.Popen(["sleep", "60"], pass_fds=[lock])
    try:
        with pytest.raises(ConfigError, match="another hrlrec works in"):
            FolderLock(tmp_path).__enter__()
    finally:
        heir.kill()
        heir.wait()
    with FolderLock(tmp_path):
        pass
