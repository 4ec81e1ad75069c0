"""Replacement of files in one step: readers see the old file or the whole new one."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Iterable
from contextlib import suppress
from io import FileIO
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, which does not delete files that are open
    fcntl = None  # type: ignore[assignment]

__all__ = ["replace_file"]

_PREFIX = ".e3any-"


def replace_file(path: str | os.PathLike[str], content: Iterable[bytes | memoryview]) -> None:
    """Write a temporary file in the same folder, then rename it.

    Symbolic links stay, and the file that they lead to is replaced; it keeps its permissions, and its group where that
    is allowed. Temporary files that killed processes have left for the same path are removed.

    Parameters
    ----------
    path : path
        Name of the file.
    content : iterable of bytes
        The new content, in pieces.

    Raises
    ------
    ValueError
        If there is something other than a file at the path, such as a folder, a device or a pipe.
    OSError
        If the file can't be written. It is unchanged then.
    """
    target = Path(os.path.realpath(path))
    before = _status(target)
    if before is not None and not stat.S_ISREG(before.st_mode):
        raise ValueError(f"expected the name of a file, got that of {_kind(before.st_mode)}: {os.fspath(path)!r}")
    _remove_abandoned(target)
    file, temporary = _created(target, private=before is not None)
    try:
        with file:
            for piece in content:
                _write(file, piece)
            if before is not None:
                _copy_permissions(before, file.fileno())
            os.fsync(file.fileno())
            if fcntl is not None:
                os.replace(temporary, target)  # while it is locked
        if fcntl is None:
            os.replace(temporary, target)  # while it is closed
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def _write(file: FileIO, piece: bytes | memoryview) -> None:
    rest = memoryview(piece)
    while len(rest):
        rest = rest[file.write(rest) :]


def _prefix(target: Path) -> str:
    """Return the prefix of temporary names for a file."""
    # A hash, because names of files have at most 255 bytes.
    return f"{_PREFIX}{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]}-"


def _created(target: Path, private: bool) -> tuple[FileIO, Path]:
    """Create a file beside another one, locked until it is closed."""
    # A file that others must not read must not be readable while it is written either.
    mode = 0o600 if private else 0o666
    while True:
        temporary = target.with_name(_prefix(target) + secrets.token_hex(8))
        file = FileIO(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode))
        # Another process may have removed it as abandoned before it was locked.
        if _lock(file.fileno()) and temporary.exists():
            return file, temporary
        file.close()


def _lock(descriptor: int) -> bool:
    """Lock a file; return False if another process has locked it."""
    if fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:  # not every file system has locks
            return not isinstance(error, BlockingIOError)
    return True


def _remove_abandoned(target: Path) -> None:
    """Remove temporary files of the same target that no process has locked; on systems without locks, none."""
    prefix = _prefix(target)
    with suppress(OSError):
        for entry in list(os.scandir(target.parent)) if fcntl is not None else []:
            if entry.name.startswith(prefix):
                _remove_unless_locked(entry.path)


def _remove_unless_locked(path: str) -> None:
    with suppress(OSError), open(path, "r+b") as file:  # it is locked, or has just been moved
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)


def _copy_permissions(before: os.stat_result, descriptor: int) -> None:
    if not hasattr(os, "fchmod"):
        return
    with suppress(OSError):  # groups of which the process is no member
        os.fchown(descriptor, -1, before.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(before.st_mode))


def _sync_folder(folder: Path) -> None:
    """Write the renaming to disk, so that it survives a loss of power."""
    with suppress(OSError):  # the file is complete anyway; not every system can open folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
