"""Fetches data sets: whole or not at all, resumed where a connection broke, checked by SHA-256."""

from __future__ import annotations

import asyncio
import lzma
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import aiohttp
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from .datasets import MANIFEST, Dataset, Remote, inside, make_manifest, sha256
from .errors import DataError, UsageError
from .files import read_json, sync_folder, take_lock, write_json

CHUNK = 1 << 20
TRIES = 4
MAX_UNPACKED = 20 << 30  # bytes of one archive; no data set here comes near
Progress = Callable[[str, int, int | None], None]  # file, bytes so far, bytes in all if known


class _Broken(Exception):
    """A failure that another try may mend."""


def get(
    about: Dataset,
    root: Path,
    *,
    source: Path | None = None,
    mirror: str | None = None,
    progress: Progress = lambda *_: None,
    pause_s: float = 1.0,
) -> Path:
    """Bring a data set to `root/<name>`; a complete one there is replaced.

    Args:
        about: The data set.
        root: Where data sets are kept.
        source: Take the files from this folder, or this file where there is only one, instead of
            the network.
        mirror: Fetch `mirror/<file name>` instead of the publisher's addresses.
        progress: Called as bytes arrive.
        pause_s: Seconds before the second try; they double with each.

    Returns:
        The folder of the data set.

    Raises:
        UsageError: another process is at it, or the place is not free.
        DataError: what could not be fetched, has another size or hash, or is no sound archive.
            What had arrived of a broken connection is kept and resumed by the next call.
    """
    if mirror is not None and not mirror.startswith(("http://", "https://")):
        raise UsageError(f"--mirror {mirror!r} is no http or https address")
    target, parts = root / about.name, root / f".{about.name}.part"
    try:
        _check_place(target, source)
        parts.mkdir(parents=True, exist_ok=True)
        lock = take_lock(parts, f"the data set {about.name}")
        try:
            files = [_file(about, r, parts, source, mirror, progress, pause_s) for r in about.files]
            _install(about, files, parts, target)
        finally:
            os.close(lock)
    except OSError as error:
        where = error.filename or root
        raise DataError(f"{where}: {error.strerror or error}") from error
    return target


def _check_place(target: Path, source: Path | None) -> None:
    """Whatever is not a data set of ours is left alone."""
    ours = (target / MANIFEST).is_file() and not target.is_symlink()
    if (target.exists() or target.is_symlink()) and not ours:
        raise UsageError(
            f"{target} is there and was not fetched by `data get`: remove it, or choose another "
            "place with --dir"
        )
    if source is not None and source.resolve().is_relative_to(target.resolve()):
        raise UsageError(f"--from {source} lies in the place that is to be filled")


def _install(about: Dataset, files: list[Path], parts: Path, target: Path) -> None:
    """Make the data set whole aside, its manifest last, then put it in its place."""
    fresh, old = parts / "content", parts / "old"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    fetched: dict[str, Any] = {}
    for remote, file in zip(about.files, files, strict=True):
        digest = _check(file, remote, about, keep=file.parent != parts)
        fetched[remote.url] = {"sha256": digest, "published": remote.sha256 is not None}
        if remote.members is None:
            shutil.copyfile(file, fresh / remote.name)
        else:
            _unpack(file, remote, fresh)
    manifest = make_manifest(about, fresh, fetched)
    os.sync()  # the files are on the disk before the manifest says that they are whole
    write_json(fresh / MANIFEST, manifest)
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)
        os.replace(target, old)
    os.replace(fresh, target)
    sync_folder(target.parent)
    shutil.rmtree(parts)


def _file(
    about: Dataset,
    remote: Remote,
    parts: Path,
    source: Path | None,
    mirror: str | None,
    progress: Progress,
    pause_s: float,
) -> Path:
    """Where one file of the data set now is: fetched, or brought along by the user."""
    if source is None:
        url = f"{mirror.rstrip('/')}/{remote.name}" if mirror else remote.url
        file = parts / remote.name
        asyncio.run(_fetch(url, file, remote, about, progress, pause_s))
        return file
    if source.is_dir():
        file = source / remote.name
    elif len(about.files) == 1:
        file = source
    else:
        names = ", ".join(other.name for other in about.files)
        raise UsageError(f"{about.name} is several files: --from must be a folder with {names}")
    if not file.is_file():
        raise DataError(f"{file}: no such file; {about.name} needs {remote.url}")
    return file


async def _fetch(
    url: str, file: Path, remote: Remote, about: Dataset, progress: Progress, pause_s: float
) -> None:
    """Fetch one file, going on where an earlier try ended."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)
    failing = (_Broken, aiohttp.ClientError, TimeoutError)
    try:
        async with aiohttp.ClientSession(timeout=timeout, trust_env=True) as session:
            async for attempt in AsyncRetrying(
                stop=stop_after_attempt(TRIES),
                wait=wait_exponential(multiplier=pause_s),
                retry=retry_if_exception_type(failing),
                reraise=True,
            ):
                with attempt:
                    await _try(session, url, file, remote, progress)
    except failing as error:
        raise DataError(
            f"cannot fetch {url}: {' '.join(str(error).split()) or type(error).__name__}; where "
            f"there is no network, bring the file here by other means and run: agemem-eval data "
            f"get {about.name} --from PATH"
        ) from error


async def _try(
    session: aiohttp.ClientSession, url: str, file: Path, remote: Remote, progress: Progress
) -> None:
    have = file.stat().st_size if file.exists() else 0
    if have and have == remote.size:
        return
    # As it is: a compressed reply could be neither counted nor resumed.
    headers = {"Accept-Encoding": "identity", **_resume(url, file, remote, have)}
    async with session.get(url, headers=headers) as reply:
        if reply.status == 416:  # what is here is longer than the file, so it is another one
            file.unlink(missing_ok=True)
            raise _Broken("what had arrived does not fit: beginning anew")
        if reply.status >= 500 or reply.status == 429:
            raise _Broken(f"the server answers {reply.status} {reply.reason}")
        if reply.status not in (200, 206):
            raise DataError(f"{url}: the server answers {reply.status} {reply.reason}")
        if reply.status == 200:  # the server does not resume, or its file has changed
            have = 0
        length = reply.content_length
        total = have + length if length is not None else remote.size
        write_json(_note(file), {"url": url, "etag": reply.headers.get("ETag", "")})
        try:
            with file.open("ab" if have else "wb") as out:
                async for chunk in reply.content.iter_chunked(CHUNK):
                    out.write(chunk)
                    have += len(chunk)
                    progress(remote.name, have, total)
        except aiohttp.ClientPayloadError as error:
            of = f" of {total}" if total is not None else ""
            raise _Broken(f"the connection ended after {have}{of} bytes") from error
        if total is not None and have < total:
            raise _Broken(f"the connection ended after {have} of {total} bytes")


def _resume(url: str, file: Path, remote: Remote, have: int) -> dict[str, str]:
    """The headers that ask for the rest of a file.

    A published hash finds out a file of two halves that do not fit. Without one, the server must
    vouch that its file is still the same (RFC 9110, 13.1.5), else it is fetched anew.
    """
    if not have:
        return {}
    resume = {"Range": f"bytes={have}-"}
    if remote.sha256 is not None:
        return resume
    note = read_json(_note(file)) if _note(file).is_file() else {}
    etag = str(note.get("etag", ""))
    if note.get("url") != url or not etag.startswith('"'):  # a weak one vouches for no bytes
        return {}
    return {**resume, "If-Range": etag}


def _note(file: Path) -> Path:
    """Beside a file that is under way: where it comes from."""
    return file.with_name(f"{file.name}.from.json")


def _check(file: Path, remote: Remote, about: Dataset, *, keep: bool) -> str:
    """The file's hash; a file that is not the published one is an error, and goes."""
    size, digest = file.stat().st_size, sha256(file)
    wrong = ""
    if remote.size is not None and size != remote.size:
        wrong = f"it has {size} bytes, not {remote.size}"
    elif remote.sha256 is not None and digest != remote.sha256:
        wrong = f"its SHA-256 is {digest}, not {remote.sha256}"
    if wrong:
        if not keep:
            file.unlink()
        raise DataError(f"{file}: not the file that {about.name} needs: {wrong}")
    return digest


def _unpack(file: Path, remote: Remote, target: Path) -> None:
    """Unpack the wanted members of a zip archive below a folder, and nothing elsewhere.

    Raises:
        DataError: for what is no zip archive, is damaged, leaves the folder, is a link, or is too
            large.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            wanted = [(info, name) for info in archive.infolist() if (name := _name(info, remote))]
            total = sum(info.file_size for info, _ in wanted)
            if not wanted:
                raise DataError(f"{file}: the archive holds nothing of what is needed")
            if total > MAX_UNPACKED:
                raise DataError(f"{file}: {total} bytes unpacked; refused")
            for info, name in wanted:
                if not inside(name) or "\\" in name or stat.S_ISLNK(info.external_attr >> 16):
                    raise DataError(f"{file}: {info.filename!r} is no plain file below its folder")
                _write_member(archive, info, target / name)
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        ValueError,  # names that are no text, offsets that are none
        NotImplementedError,  # an unknown compression
        RuntimeError,  # a password
    ) as error:
        raise DataError(f"{file}: not a sound zip archive: {error}") from error


def _write_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as out, archive.open(info) as packed:
        while True:
            try:
                chunk = packed.read(CHUNK)
            except OSError as error:  # of the decompressors; a disk's own fails below
                raise zipfile.BadZipFile(str(error)) from error
            if not chunk:
                return
            out.write(chunk)


def _name(info: zipfile.ZipInfo, remote: Remote) -> str | None:
    """Where a member goes below the target; None for folders and what is not wanted."""
    name = info.filename
    if info.is_dir() or name.startswith("__MACOSX/"):
        return None
    if remote.strip and ".." not in PurePosixPath(name).parts:
        name = "/".join(name.split("/")[remote.strip :])
    return name if name and name.startswith(remote.members or ("",)) else None
