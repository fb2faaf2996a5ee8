"""Whether a file elsewhere is another than it was."""

from __future__ import annotations

import datetime

import pytest

from franca.data.versions import Version

MONDAY, TUESDAY = "Mon, 02 Nov 2026 10:00:00 GMT", "Tue, 03 Nov 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    ("before", "now", "is_other"),
    [
        (Version("a", MONDAY, 5), Version("a", TUESDAY, 5), False),  # touched, or another machine of the same service
        (Version("a", MONDAY, 5), Version("b", MONDAY, 5), False),  # tags made from the inode, say
        (Version("a", MONDAY, 5), Version("b", TUESDAY, 5), True),
        (Version("a", MONDAY, 5), Version("b", MONDAY, 6), True),
        (Version("a", None, 5), Version("b", None, 5), True),
        (Version('W/"a"'), Version('"a"'), False),
        (Version(None, MONDAY, 5), Version(None, TUESDAY, 5), True),
        (Version(None, None, 5), Version(None, None, 6), True),
        (Version(None, None, 5), Version(None, None, 5), False),
        (Version(None, None, 5), Version("a", MONDAY, None), False),
        (Version("a", MONDAY, 5), Version(), False),
        (Version(), Version(), False),
    ],
)
def test_is_another(before: Version, now: Version, is_other: bool) -> None:
    assert now.is_other_than(before) is before.is_other_than(now) is is_other


def test_headers_and_stores() -> None:
    headers = {"ETag": '"x"', "Last-Modified": MONDAY, "Content-Length": "12"}
    assert Version.of_headers(headers) == Version('"x"', MONDAY, 12)
    assert Version.of_headers({"Content-Length": "many"}) == Version.of_headers({}) == Version()
    day = datetime.datetime(2026, 11, 2)
    assert Version.of_store({"ETag": '"x"', "LastModified": day, "size": 12}) == Version('"x"', str(day), 12)
    assert Version.of_store({"etag": "x", "updated": "then", "size": None}) == Version("x", "then", None)
