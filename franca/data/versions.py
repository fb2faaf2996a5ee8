"""What tells that the file at an address is another than it was: what servers and stores say about it unasked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Lookup: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Version:
    """What is known about a file elsewhere without reading it; None where nobody says."""

    etag: str | None = None
    last_modified: str | None = None
    num_bytes: int | None = None

    @classmethod
    def of_headers(cls, headers: Lookup) -> Version:
        """What the headers of an http response say."""
        length = headers.get("Content-Length")
        return cls(
            etag=headers.get("ETag"),
            last_modified=headers.get("Last-Modified"),
            num_bytes=int(length) if length and length.isdigit() else None,
        )

    @classmethod
    def of_store(cls, info: Lookup) -> Version:
        """What an object store says through fsspec; each has names of its own."""
        found = {name.lower().replace("_", ""): value for name, value in info.items() if value}
        changed = next((found[name] for name in ("lastmodified", "updated", "mtime", "created") if name in found), None)
        size = info.get("size")
        return cls(
            etag=str(found["etag"]) if "etag" in found else None,
            last_modified=None if changed is None else str(changed),
            num_bytes=size if isinstance(size, int) else None,
        )

    def is_other_than(self, before: Version) -> bool:
        """Whether the file was replaced, as far as both say.

        Equal ETags are proof of the same file. Different ones are not proof of another: machines behind one address may
        each have their own. Size and date decide then, where they are known.
        """
        tags = (_strong(self.etag), _strong(before.etag))
        if None not in tags and tags[0] == tags[1]:
            return False
        if None not in (self.num_bytes, before.num_bytes) and self.num_bytes != before.num_bytes:
            return True
        if self.last_modified and before.last_modified:
            return self.last_modified != before.last_modified
        return None not in tags


def _strong(etag: str | None) -> str | None:
    return etag.removeprefix("W/") if etag else None
