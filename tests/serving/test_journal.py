import errno
import os
import pathlib
import resource
import signal
import subprocess
import sys
import threading
import time

import pytest

from hrlrec_tf.errors import ConfigError
from serving import journal, journal_files
from serving.journal import Journal
from serving.journal_files import FeedbackError

PATH = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def lines(folder: pathlib.Path) -> list[journal_files.Line]:
    return [line for path in journal_files.files(folder, "log") for line in journal_files.read(path)]


def numbers(folder: pathlib.Path) -> list[int]:
    return [line.record["n"] for line in lines(folder) if line.record is not None]


def test_what_is_written_is_read_while_open_and_after(tmp_path):
    with Journal(tmp_path, "log") as log:
        log.write({"n": 1, "text": "ü\n|\ud800"})
        assert numbers(tmp_path) == [1]
        (path,) = tmp_path.iterdir()
        assert path.name.endswith(".jsonl.open")
    (path,) = tmp_path.iterdir()
    assert path.name.endswith(".jsonl") and path.read_bytes().count(b"\n") == 1 and numbers(tmp_path) == [1]


def test_an_unused_journal_leaves_no_file(tmp_path):
    Journal(tmp_path / "new", "log").close()
    assert list((tmp_path / "new").iterdir()) == []


def test_files_are_completed_by_size_and_by_age(tmp_path):
    with Journal(tmp_path, "log", rotate_bytes=30) as log:
        for n in range(10):
            log.write({"n": n})  # 8 bytes a line
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert sorted(sizes) == [16, 32, 32] and sorted(numbers(tmp_path)) == list(range(10))
    with Journal(tmp_path / "aged", "log", rotate_seconds=0.05) as log:
        log.write({"n": 0})
        deadline = time.monotonic() + 10
        while list((tmp_path / "aged").glob("*.open")) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not list((tmp_path / "aged").glob("*.open"))  # nobody wrote meanwhile


def test_threads_do_not_mix_their_lines(tmp_path):
    with Journal(tmp_path, "log", rotate_bytes=5000) as log:
        threads = [
            threading.Thread(target=lambda k=k: [log.write({"n": k * 100 + n, "pad": "x" * n}) for n in range(100)])
            for k in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(numbers(tmp_path)) == list(range(800)) and len(list(tmp_path.iterdir())) > 5


@pytest.mark.parametrize(("fsync", "at_once"), [("always", 3), (60, 0), ("never", 0)])
def test_fsync_policy(tmp_path, monkeypatch, fsync, at_once):
    synced, real = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (os.path.isfile(f"/proc/self/fd/{fd}") and synced.append(fd), real(fd)))
    log = Journal(tmp_path, "log", fsync=fsync)
    for n in range(3):
        log.write({"n": n})
    assert len(synced) == at_once
    log.close()
    assert len(synced) == (3 if fsync == "always" else 1 if fsync == 60 else 0)


def test_fsync_every_so_many_seconds(tmp_path, monkeypatch):
    synced, real = threading.Event(), os.fsync
    with Journal(tmp_path, "log", fsync=0.05) as log:
        log.write({"n": 0})
        monkeypatch.setattr(os, "fsync", lambda fd: (real(fd), synced.set()))
        log.write({"n": 1})
        assert synced.wait(10)


def write_until_killed(folder: pathlib.Path, after: int) -> int:
    """Kills a writer (-9) once it has said that `after` lines were written; returns the last number it told."""
    program = (
        "import sys, itertools; from serving.journal import Journal; log = Journal(sys.argv[1], 'log')\n"
        "for n in itertools.count(): log.write({'n': n, 'pad': 'x' * 300}); print(n, flush=True)"
    )
    command = [sys.executable, "-c", program, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=PATH) as process:
        told = 0
        for line in process.stdout:
            told = int(line)
            if told == after:
                process.send_signal(signal.SIGKILL)
    return told


def test_kill_9_loses_no_line(tmp_path):
    told = write_until_killed(tmp_path, 500)
    kept = numbers(tmp_path)
    assert kept == list(range(len(kept))) and len(kept) > told >= 500
    (path,) = tmp_path.glob("*.open")
    with path.open("ab") as file:  # what a write cut short would have left
        file.write(b'{"n": 77')
    torn = [line for line in lines(tmp_path) if line.is_torn]
    assert [(line.text, line.number, line.record) for line in torn] == [(b'{"n": 77', len(kept) + 1, None)]
    with Journal(tmp_path, "log") as log:  # the next writer mends what the dead one left
        log.write({"n": len(kept)})
    assert not list(tmp_path.glob("*.open")) and sorted(numbers(tmp_path)) == list(range(len(kept) + 1))
    assert [path.read_bytes() for path in tmp_path.glob("*.torn")] == [b'{"n": 77']


def test_a_living_writers_file_is_left_alone(tmp_path):
    with Journal(tmp_path, "log") as first, Journal(tmp_path, "log") as second:
        first.write({"n": 1})
        assert journal_files.recover(tmp_path, "log") == []
        second.write({"n": 2})
        first.write({"n": 3})
        (path,) = [path for path in tmp_path.iterdir() if b"3" in path.read_bytes()]
        with path.open("ab") as file:
            file.write(b'{"n": 4')  # a line in the middle of being written is not torn
        assert not any(line.is_torn for line in lines(tmp_path)) and sorted(numbers(tmp_path)) == [1, 2, 3]


@pytest.fixture
def full_disk(monkeypatch):
    """Lets the disk take `room` more bytes of lines; None is no limit."""

    class Disk:
        room: int | None = None

    real = os.write

    def write(descriptor, data):
        if Disk.room is None:
            return real(descriptor, data)
        if Disk.room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        Disk.room -= (taken := min(len(data), Disk.room))
        return real(descriptor, data[:taken])

    monkeypatch.setattr(journal.os, "write", write)
    return Disk


def test_a_full_disk_is_told_and_earlier_lines_stay_whole(tmp_path, full_disk):
    with Journal(tmp_path, "log") as log:
        log.write({"n": 0})
        full_disk.room = 5
        for _ in range(2):
            with pytest.raises(
                FeedbackError, match=r"No space left on device\); free space .* lines before it are whole"
            ):
                log.write({"n": 1})
        full_disk.room = None
        log.write({"n": 2})
    assert numbers(tmp_path) == [0, 2] and not any(line.record is None for line in lines(tmp_path))


def test_a_half_line_that_cannot_be_taken_back_ends_its_file(tmp_path, full_disk, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EIO, "broken")

    with Journal(tmp_path, "log") as log:
        log.write({"n": 0})
        full_disk.room = 5
        monkeypatch.setattr(journal.os, "ftruncate", refuse)
        with pytest.raises(FeedbackError):
            log.write({"n": 1})
        full_disk.room = None
        log.write({"n": 2})
    assert sorted(numbers(tmp_path)) == [0, 2]
    assert [line.text for line in lines(tmp_path) if line.is_torn] == [b'{"n":']


def test_serving_may_go_on_without_its_log(tmp_path, full_disk, caplog):
    with Journal(tmp_path, "log", on_error="drop") as log:
        full_disk.room = 0
        for n in range(5):
            log.write({"n": n})
        assert log.dropped == 5 and caplog.text.count("lines dropped so far") == 3
        full_disk.room = None
        log.write({"n": 5})
    assert numbers(tmp_path) == [5]


def test_a_limit_of_the_operating_system(tmp_path):
    program = (
        "import sys; from serving.journal import Journal; from serving.journal_files import FeedbackError\n"
        "log, wrote = Journal(sys.argv[1], 'log'), 0\n"
        "try:\n"
        "  while wrote < 1000: log.write({'n': wrote, 'pad': 'x' * 100}); wrote += 1\n"
        "except FeedbackError as error: print(wrote, error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env=PATH,
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
    )
    wrote, _, sentence = done.stdout.partition(" ")
    assert "a line could not be written (File too large)" in sentence
    assert numbers(tmp_path) == list(range(int(wrote))) and len(lines(tmp_path)) == int(wrote) > 50


def test_a_small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)], capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system of 64 kB")
    try:
        with Journal(disk, "log") as log:
            wrote = 0
            with pytest.raises(FeedbackError, match="No space left on device"):
                while wrote < 10_000:
                    log.write({"n": wrote, "pad": "x" * 100})
                    wrote += 1
        assert numbers(disk) == list(range(wrote)) and len(lines(disk)) == wrote > 100
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_misuse_is_refused(tmp_path):
    for options in ({"fsync": "sometimes"}, {"fsync": 0}, {"on_error": "ignore"}):
        with pytest.raises(ConfigError):
            Journal(tmp_path, "log", **options)
    log = Journal(tmp_path, "log")
    log.close()
    with pytest.raises(FeedbackError, match="closed"):
        log.write({})
    (tmp_path / "file").write_text("")
    with pytest.raises(FeedbackError, match="file"):
        Journal(tmp_path / "file", "log")
    with pytest.raises(FeedbackError, match="there is no such folder"):
        journal_files.files(tmp_path / "absent", "log")


def test_a_forked_child_must_not_write(tmp_path):
    with Journal(tmp_path, "log") as log:
        log.write({"n": 0})
        child = os.fork()
        if child == 0:
            try:
                log.write({"n": 1})
            except FeedbackError as error:
                os._exit("another process" in str(error))
            os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    assert numbers(tmp_path) == [0]
