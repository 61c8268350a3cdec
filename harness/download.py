"""Fetches data sets: whole or not at all, resumed where a connection broke, checked by SHA-256."""

from __future__ import annotations

import asyncio
import contextlib
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
from .files import sync_folder, write_json

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
    """Bring a data set to `root/<name>`; one that is complete already is replaced.

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
        DataError: what could not be fetched, has another size or hash, or is no sound archive.
            What had arrived of a broken connection is kept and resumed by the next call.
    """
    try:
        return _get(about, root, source, mirror, progress, pause_s)
    except OSError as error:
        where = error.filename or root
        raise DataError(f"{where}: cannot be written: {error.strerror or error}") from error


def _get(
    about: Dataset,
    root: Path,
    source: Path | None,
    mirror: str | None,
    progress: Progress,
    pause_s: float,
) -> Path:
    target, parts = root / about.name, root / f".{about.name}.part"
    fresh = parts / "content"
    if fresh.exists():
        shutil.rmtree(fresh)
    fresh.mkdir(parents=True)
    fetched: dict[str, Any] = {}
    for remote in about.files:
        file = _local(about, remote, source)
        if file is None:
            url = f"{mirror.rstrip('/')}/{remote.name}" if mirror else remote.url
            file = parts / remote.name
            asyncio.run(_fetch(url, file, remote, about, progress, pause_s))
        digest = _check(file, remote, about, keep=source is not None)
        fetched[remote.url] = {"sha256": digest, "published": remote.sha256 is not None}
        if remote.members is None:
            shutil.copyfile(file, fresh / remote.name)
        else:
            _unpack(file, remote, fresh)
    manifest = make_manifest(about, fresh, fetched)
    if target.exists():
        (target / MANIFEST).unlink(missing_ok=True)  # incomplete from here on, and says so
        shutil.rmtree(target)
    os.replace(fresh, target)
    write_json(target / MANIFEST, manifest)
    sync_folder(root)
    shutil.rmtree(parts)
    return target


def _local(about: Dataset, remote: Remote, source: Path | None) -> Path | None:
    if source is None:
        return None
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
    headers = {"Range": f"bytes={have}-"} if have else {}
    async with session.get(url, headers=headers) as reply:
        if reply.status == 416:  # what is here is longer than the file, so it is another one
            file.unlink()
            raise _Broken("what had arrived does not fit: beginning anew")
        if reply.status >= 500 or reply.status == 429:
            raise _Broken(f"the server answers {reply.status} {reply.reason}")
        if reply.status not in (200, 206):
            raise DataError(f"{url}: the server answers {reply.status} {reply.reason}")
        if reply.status == 200:  # the server does not resume
            have = 0
        length = reply.content_length
        total = have + length if length is not None else remote.size
        with (
            contextlib.suppress(aiohttp.ClientPayloadError),
            file.open("ab" if have else "wb") as out,
        ):
            async for chunk in reply.content.iter_chunked(CHUNK):
                out.write(chunk)
                have += len(chunk)
                progress(remote.name, have, total)
        if total is not None and have < total:
            raise _Broken(f"the connection ended after {have} of {total} bytes")


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
                path = target / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(info) as packed, path.open("wb") as out:
                    shutil.copyfileobj(packed, out, CHUNK)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,  # an unknown compression
        RuntimeError,  # a password
    ) as error:
        raise DataError(f"{file}: not a sound zip archive: {error}") from error


def _name(info: zipfile.ZipInfo, remote: Remote) -> str | None:
    """Where a member goes below the target; None for folders and what is not wanted."""
    name = info.filename
    if info.is_dir() or name.startswith("__MACOSX/"):
        return None
    if remote.strip and ".." not in PurePosixPath(name).parts:
        name = "/".join(name.split("/")[remote.strip :])
    return name if name and name.startswith(remote.members or ("",)) else None
