"""Opens what lies elsewhere: over http, in an object store, or as the output of a command."""

from __future__ import annotations

import errno
import glob
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

from franca.data.command import open_command, reader
from franca.data.open_files import TOO_MANY
from franca.data.streams import FetchError, Stream
from franca.data.versions import Version
from franca.errors import DataError

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_FAULTS_OF_THIS_MACHINE = (errno.ENOSPC, errno.EDQUOT, *TOO_MANY)
_TRANSIENT_STATUSES = frozenset((408, 425, 429))  # and all from 500 on


def is_remote(location: str) -> bool:
    """Whether a location is an address and not a path."""
    return location.startswith("pipe:") or (scheme_of(location) or "file") != "file"


def scheme_of(location: str) -> str | None:
    """``https`` of ``https://…``; ``pipe`` of ``pipe:…``; None of a path."""
    if location.startswith("pipe:"):
        return "pipe"
    match = _SCHEME.match(location)
    return match[1].lower() if match else None


def open_stream(address: str, timeout_seconds: float) -> AbstractContextManager[Stream]:
    """Opens an address for reading.

    Args:
        address: ``http(s)://…``, ``pipe:COMMAND``, or what fsspec or webdataset open.
        timeout_seconds: How long to wait for the next byte; object stores have limits of their own.

    Raises:
        FetchError: On entering, reading or leaving, when it cannot be had; a command tells only at its end.
        OSError: The disk here is full, or too many files are open.
        DataError: Nothing installed opens such addresses.
    """
    scheme = scheme_of(address)
    if scheme in ("http", "https"):
        return _as_fetch_errors(_open_http, address, timeout_seconds)
    if scheme == "pipe":
        return _as_fetch_errors(open_command, address, timeout_seconds)
    if not _fsspec_knows(scheme):
        return _as_fetch_errors(_open_with_webdataset, address, timeout_seconds)
    return _as_fetch_errors(_open_with_fsspec, address, timeout_seconds)


def ask_version(address: str, timeout_seconds: float) -> Version:
    """What tells whether the file at an address was replaced, without reading it; nothing where nobody can be asked.

    Raises:
        FetchError: It cannot be had.
        OSError: Too many files are open.
    """
    scheme = scheme_of(address)
    if scheme in ("http", "https"):
        opener = partial(_open_http, method="HEAD")
    elif scheme != "pipe" and _fsspec_knows(scheme):
        opener = partial(_asked_of_store)
    else:
        return Version()
    with _as_fetch_errors(opener, address, timeout_seconds) as stream:
        return stream.version


def require_opener(address: str) -> None:
    """Finds out at the start when nothing installed opens addresses of this kind.

    Raises:
        DataError: Which names the package that is missing.
    """
    scheme = scheme_of(address)
    if scheme in ("http", "https", "pipe"):
        return
    if _fsspec_knows(scheme):
        _filesystem_class(str(scheme))
        return
    from webdataset.gopen import gopen_schemes

    if scheme not in gopen_schemes:
        raise DataError(
            f"Cannot open {address}: nothing opens {scheme}:// addresses. Expected http://, https://, pipe:COMMAND, an "
            "object store that fsspec knows (s3://, gs://, hf://, …: pip install 'franca-vision[remote]' and the "
            "store's package), or a scheme of webdataset."
        )


def remote_glob(address: str) -> list[str]:
    """The addresses that a pattern with ``*`` matches in an object store; any other address as it is.

    Raises:
        DataError: Nothing matches, or such addresses cannot be listed.
    """
    scheme = scheme_of(address)
    if scheme == "pipe" or not glob.has_magic(address.replace("?", "") if scheme in ("http", "https") else address):
        return [address]
    if not _fsspec_knows(scheme) or scheme in ("http", "https"):
        raise DataError(
            f"{address}: a {scheme}:// server cannot be listed. Write a range such as {{00000..00019}}.tar."
        )
    system = _filesystem_class(str(scheme))()
    try:
        found = sorted(str(system.unstrip_protocol(path)) for path in system.glob(address))
    except Exception as error:  # each store has errors of its own
        raise DataError(f"Cannot list {address}: {error}.") from error
    if not found:
        raise DataError(f"No file matches {address}.")
    return found


def _fsspec_knows(scheme: str | None) -> bool:
    try:
        import fsspec
    except ImportError:
        return False
    return scheme in fsspec.available_protocols()


def _filesystem_class(scheme: str) -> Any:
    import fsspec

    try:
        return fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        raise DataError(f"Cannot open {scheme}:// addresses: {error}.") from error


@contextmanager
def _as_fetch_errors(
    opener: Callable[[str, float], AbstractContextManager[Stream]], address: str, timeout_seconds: float
) -> Iterator[Stream]:
    """Whatever goes wrong becomes a `FetchError`, except a full disk or too many files here and errors of ours."""
    try:
        with opener(address, timeout_seconds) as stream:
            yield stream
    except (FetchError, DataError):
        raise
    except urllib.error.HTTPError as error:
        permanent = error.code < 500 and error.code not in _TRANSIENT_STATUSES
        raise FetchError(f"http_{error.code}", str(error), permanent=permanent) from error
    except FileNotFoundError as error:
        raise FetchError("missing", f"no such file: {error}", permanent=True) from error
    except Exception as error:
        reason = getattr(error, "reason", error)  # urllib wraps what happened
        if isinstance(reason, OSError) and reason.errno in _FAULTS_OF_THIS_MACHINE:
            raise reason from None
        slug = "timeout" if isinstance(reason, TimeoutError) else "connection_lost"
        raise FetchError(slug, f"{type(error).__name__}: {error}") from error


@contextmanager
def _open_http(address: str, timeout_seconds: float, method: str = "GET") -> Iterator[Stream]:
    headers = {"User-Agent": "franca", "Accept-Encoding": "identity"}
    request = urllib.request.Request(address, headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=timeout_seconds) as response:
        yield Stream(response.read1, Version.of_headers(response.headers))


@contextmanager
def _open_with_webdataset(address: str, timeout_seconds: float) -> Iterator[Stream]:
    """What a scheme of webdataset opens, by a command of its own as a rule."""
    from webdataset.gopen import Pipe, gopen

    stream = gopen(address, "rb")
    if not isinstance(stream, Pipe):
        with stream:
            yield Stream(stream.read)
        return
    try:
        yield Stream(reader(stream.stream, timeout_seconds))
    except BaseException:
        stream.ignore_errors = True
        stream.proc.kill()
        stream.close()
        raise
    try:
        stream.close()
    except OSError as error:
        raise FetchError("command_failed", str(error)) from error


@contextmanager
def _open_with_fsspec(address: str, timeout_seconds: float) -> Iterator[Stream]:
    system, path = _in_store(address)
    version = Version()
    with suppress(Exception):  # each store has errors of its own, and opening tells better what is wrong
        version = Version.of_store(system.info(path))
    with system.open(path, "rb") as file:
        size = getattr(file, "size", None)
        yield Stream(file.read, replace(version, num_bytes=size if isinstance(size, int) else None))


@contextmanager
def _asked_of_store(address: str, timeout_seconds: float) -> Iterator[Stream]:
    """What a store says about a file, as a stream that gives nothing."""
    system, path = _in_store(address)
    yield Stream(lambda num_bytes: b"", Version.of_store(system.info(path)))


def _in_store(address: str) -> tuple[Any, str]:
    import fsspec

    system, path = fsspec.core.url_to_fs(address)
    return system, path
