"""How files are written: in one step, to where links lead, and with nothing left behind."""

from __future__ import annotations

import os
import socket
import stat
import threading

import numpy as np
import pytest
from test_checkpoint import start

from e3any import checkpoint
from e3any.files import replacement as files

TREE = {"x": np.arange(3.0)}
SMALL = {"x": np.zeros(1)}


def saved(path):
    return checkpoint.load(path)["x"].tolist() == TREE["x"].tolist()


@pytest.mark.parametrize("there", [True, False], ids=["there", "dangling"])
def test_symbolic_links_stay_and_their_target_is_written(tmp_path, there):
    (tmp_path / "far").mkdir()
    target, link, second = tmp_path / "far" / "target", tmp_path / "link", tmp_path / "second"
    if there:
        checkpoint.save(target, SMALL)
    link.symlink_to(os.path.join("far", "target"))
    second.symlink_to(link)
    for name in (link, second):
        checkpoint.save(name, TREE)
        assert link.is_symlink()
        assert second.is_symlink()
        assert not target.is_symlink()
        assert saved(target)
        assert saved(name)
    assert sorted(os.listdir(tmp_path)) == ["far", "link", "second"]
    assert os.listdir(tmp_path / "far") == ["target"]


def test_links_in_a_circle_are_an_error_of_the_system(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(OSError, match="symbolic links"):
        checkpoint.save(tmp_path / "a", TREE)
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


@pytest.mark.parametrize("kind", ["folder", "pipe", "socket", "device"])
def test_what_is_no_file_is_refused_and_stays(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    path = tmp_path / "x"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("x")
    else:
        path.symlink_to(os.devnull)
    before = path.stat().st_mode
    with pytest.raises(ValueError, match=rf"expected the name of a file, got that of a {kind}: '.*x'"):
        checkpoint.save(path, TREE)
    assert path.stat().st_mode == before
    assert os.listdir(tmp_path) == ["x"]
    with pytest.raises(FileNotFoundError, match="expected a checkpoint, got no file"):
        checkpoint.load(path)


@pytest.mark.parametrize("length", [1, 218, 219, 254, 255])
@pytest.mark.parametrize("letter", ["a", "ä"])
def test_names_may_be_as_long_as_the_system_lets_them(tmp_path, length, letter):
    path = tmp_path / (letter * (length // len(letter.encode())) + "b" * (length % len(letter.encode())))
    checkpoint.save(path, SMALL)
    checkpoint.save(path, TREE)
    assert saved(path)
    assert os.listdir(tmp_path) == [path.name]


def test_names_that_are_too_long_are_an_error_of_the_system(tmp_path):
    with pytest.raises(OSError, match="too long"):
        checkpoint.save(tmp_path / ("a" * 256), TREE)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444])
def test_permissions_are_kept(tmp_path, mode):
    checkpoint.save(tmp_path / "x", SMALL)
    os.chmod(tmp_path / "x", mode)
    checkpoint.save(tmp_path / "x", TREE)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == mode
    assert saved(tmp_path / "x")


def test_content_that_is_private_is_never_to_be_read_by_others(tmp_path, monkeypatch):
    path, modes = tmp_path / "x", []
    checkpoint.save(path, SMALL)
    os.chmod(path, 0o600)
    write = files._write

    def watched(file, piece):
        modes.append(stat.S_IMODE(os.fstat(file.fileno()).st_mode))
        write(file, piece)

    monkeypatch.setattr(files, "_write", watched)
    checkpoint.save(path, TREE)
    assert set(modes) == {0o600}


KILLED = """
    import os, signal, sys
    import numpy as np
    from e3any import checkpoint

    os.{function} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    checkpoint.save(sys.argv[1], {{"x": np.zeros(3)}})
"""


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_what_killed_processes_leave_is_removed_by_the_next_save_of_the_same_file(tmp_path, function):
    path, other = tmp_path / ("x" * 255), tmp_path / "other"
    processes = [start(KILLED.format(function=function), name) for name in (path, other)]
    assert {process.wait(60) for process in processes} == {-9}
    assert len(os.listdir(tmp_path)) == 2
    checkpoint.save(path, TREE)
    assert saved(path)
    assert len(os.listdir(tmp_path)) == 2  # what is left of the other file is not ours
    checkpoint.save(other, TREE)
    assert sorted(os.listdir(tmp_path)) == ["other", path.name]


def test_what_is_being_written_is_not_removed_by_others(tmp_path, monkeypatch):
    path, begun, go_on = tmp_path / "x", threading.Event(), threading.Event()
    sync = os.fsync

    def slow(descriptor):
        if threading.current_thread() is not threading.main_thread():
            begun.set()
            assert go_on.wait(60)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    thread = threading.Thread(target=checkpoint.save, args=(path, TREE))
    thread.start()
    assert begun.wait(60)
    process = start("import sys, numpy; from e3any import checkpoint; checkpoint.save(sys.argv[1], {})", path)
    assert process.wait(60) == 0
    checkpoint.save(path, SMALL)
    assert len(os.listdir(tmp_path)) == 2
    go_on.set()
    thread.join(60)
    assert saved(path)
    assert os.listdir(tmp_path) == ["x"]


def test_file_systems_without_locks_keep_what_was_left(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no locks available")

    monkeypatch.setattr(files.fcntl, "flock", refuse)
    left = tmp_path / (files._prefix(tmp_path / "x") + "0")
    left.touch()
    checkpoint.save(tmp_path / "x", TREE)
    assert saved(tmp_path / "x")
    assert left.exists()


def test_systems_without_locks_write_files(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "fcntl", None)
    checkpoint.save(tmp_path / "x", SMALL)
    checkpoint.save(tmp_path / "x", TREE)
    assert saved(tmp_path / "x")
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, MemoryError])
def test_interrupts_leave_nothing_behind(tmp_path, interrupt):
    def content():
        yield b"half"
        raise interrupt

    (tmp_path / "x").write_bytes(b"before")
    with pytest.raises(interrupt):
        files.replace_file(tmp_path / "x", content())
    assert (tmp_path / "x").read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["x"]
