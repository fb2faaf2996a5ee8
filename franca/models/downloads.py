"""Files from elsewhere, kept where torch.hub keeps its own: a file in the cache is whole, or it is not there."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path

import torch

from franca.errors import CheckpointError
from franca.models.file_kind import check_download
from franca.models.pieces import unpack_pieces

URL = re.compile(r"(https?|file)://.+", re.IGNORECASE)
WAITS_S = (1.0, 4.0)  # before the second and the third attempt
TIMEOUT_S = 60.0
BLOCK_BYTES = 1 << 20
PROGRESS_INTERVAL_S = 0.2


def is_url(text: str) -> bool:
    """Whether a text is an address that can be downloaded: http, https or file."""
    return URL.fullmatch(text) is not None


def cache_folder() -> Path:
    """Where downloads are kept; TORCH_HOME moves it."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def cache_name(url: str) -> str:
    """A name for the file at an address that no other address has: two may end in the same name."""
    plain = Path(re.sub(r"[^\w.-]", "_", _last_part(url))[-80:] or "weights")
    return f"{plain.stem}-{hashlib.sha256(url.encode()).hexdigest()[:12]}{plain.suffix}"


def fetch(urls: Sequence[str], file: str, *, sha256: str | None = None, verbose: bool = True) -> Path:
    """Where a file lies in the cache, after a download if it was not there.

    Args:
        urls: of the file; or of the pieces, in order, of a gzipped tar that holds it.
        file: its name in the cache.
        sha256: what it must be, in hexadecimal; None does not check. Pieces have none.
        verbose: tell on stderr of a download, and of its progress where that is a terminal.

    Raises:
        CheckpointError: if it cannot be downloaded, or is not what it should be. Nothing of it is kept then.
    """
    target = cache_folder() / file
    if target.exists():
        if sha256 is not None:
            _check_cached(target, sha256)
        return target
    if len(urls) == 1:
        download(urls[0], target, sha256=sha256, check=check_download, verbose=verbose)
    else:
        _fetch_pieces(urls, target, verbose)
    return target


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    check: Callable[[Path], None] | None = None,
    verbose: bool = True,
) -> None:
    """Download one file, whole or not at all; several processes may do so at once.

    Args:
        url: of the file.
        target: where it shall lie.
        sha256: see `fetch`.
        check: raises a ValueError where the content is not what it should be.
        verbose: see `fetch`.

    Raises:
        CheckpointError: see `fetch`.
    """
    if verbose:
        print(f"downloading {url} to {target}", file=sys.stderr)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(
            f"Cannot keep downloads in {target.parent}: {error.strerror}. TORCH_HOME names another folder."
        ) from error
    temporary = _temporary(target)
    try:
        digest = _transfer_with_patience(url, temporary, verbose)
        if sha256 not in (None, digest):
            raise OSError(f"its SHA-256 is {digest} instead of {sha256}")
        if check is not None:
            check(temporary)
        os.replace(temporary, target)
        if sha256 is not None:
            _remember(target, sha256)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise CheckpointError(
            f"Cannot download {url}: {_reason(error)}. Try again, or get the file on another machine and put it at "
            f"{target}."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _check_cached(path: Path, sha256: str) -> None:
    """Check a file that lies in the cache, whoever put it there, once: until its size or its time changes."""
    with suppress(OSError):
        if _note(path).read_text() == _checked(path, sha256):
            return
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    if digest.hexdigest() != sha256:
        raise CheckpointError(
            f"{path} is not the file that it should be: its SHA-256 is {digest.hexdigest()} instead of {sha256}. "
            "Delete it; it is downloaded again then."
        )
    _remember(path, sha256)


def _remember(path: Path, sha256: str) -> None:
    """Note that a file was checked; where the cache cannot be written it is checked every time."""
    temporary = _temporary(_note(path))
    with suppress(OSError):
        temporary.write_text(_checked(path, sha256))
        os.replace(temporary, _note(path))


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _checked(path: Path, sha256: str) -> str:
    status = path.stat()
    return f"{sha256} {status.st_size} bytes, changed {status.st_mtime_ns}\n"


def _fetch_pieces(urls: Sequence[str], target: Path, verbose: bool) -> None:
    """Download the pieces that are not there yet, and replace them by the file they hold."""
    pieces = [target.with_name(_last_part(url)) for url in urls]
    for url, piece in zip(urls, pieces, strict=True):
        if not piece.exists():
            download(url, piece, verbose=verbose)
    temporary = _temporary(target)
    try:
        unpack_pieces(pieces, temporary)
        os.replace(temporary, target)
    except FileNotFoundError as error:
        if not target.exists():  # where it does, another process was faster, and took the pieces away
            raise CheckpointError(f"Cannot unpack {target}: {error}. Try again.") from error
    except OSError as error:
        raise CheckpointError(f"Cannot unpack {target}: {error}. The pieces beside it are kept.") from error
    except CheckpointError:
        _remove(pieces)  # the next call shall not meet them again
        raise
    finally:
        temporary.unlink(missing_ok=True)
    _remove(pieces)


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _last_part(url: str) -> str:
    """What an address calls its file."""
    return re.split("[?#]", url)[0].rpartition("/")[2]


def _temporary(target: Path) -> Path:
    """A name beside the target that no other process has."""
    return target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")


def _transfer_with_patience(url: str, path: Path, verbose: bool) -> str:
    """Repeat what may pass: broken connections and failures of the server, but not its refusals."""
    for wait_s in WAITS_S:
        try:
            return _transfer(url, path, verbose)
        except (OSError, http.client.HTTPException) as error:
            if not _may_pass(error):
                raise
            if verbose:
                print(f"{_reason(error)}; again in {wait_s:g} s", file=sys.stderr)
            time.sleep(wait_s)
    return _transfer(url, path, verbose)


def _may_pass(error: Exception) -> bool:
    if isinstance(error, urllib.error.HTTPError):
        return error.code >= 500
    return isinstance(error, urllib.error.URLError | ConnectionError | TimeoutError | http.client.HTTPException)


def _transfer(url: str, path: Path, verbose: bool) -> str:
    """Write what an address gives to a file; returns its SHA-256."""
    digest, num_bytes = hashlib.sha256(), 0
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response, open(path, "wb") as file:
        length = response.headers.get("Content-Length")
        shown = verbose and sys.stderr.isatty()
        with closing(_Progress(_last_part(url), int(length or 0), shown=shown)) as progress:
            while block := response.read(BLOCK_BYTES):
                file.write(block)
                digest.update(block)
                num_bytes += len(block)
                progress.update(num_bytes)
    if length is not None and num_bytes != int(length):
        raise ConnectionError(f"the connection broke after {num_bytes} of {length} bytes")
    return digest.hexdigest()


class _Progress:
    """One line on a terminal that says how far a download is."""

    def __init__(self, name: str, total_bytes: int, *, shown: bool) -> None:
        self.name = name
        self.total = f" of {total_bytes / 1e6:.0f}" if total_bytes else ""
        self.shown = shown
        self.next_s = 0.0

    def update(self, num_bytes: int) -> None:
        if self.shown and time.monotonic() >= self.next_s:
            self.next_s = time.monotonic() + PROGRESS_INTERVAL_S
            print(f"\r{self.name}: {num_bytes / 1e6:.0f}{self.total} MB", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self.shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answered {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return str(error) or type(error).__name__
