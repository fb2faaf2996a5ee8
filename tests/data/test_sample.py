"""What a worker process sends back about a bad sample."""

from __future__ import annotations

import pickle

from franca.data.sample import BadSample


def test_bad_sample_survives_pickling() -> None:
    again = pickle.loads(pickle.dumps(BadSample("key", "empty")))
    assert (again.key, again.reason, str(again)) == ("key", "empty", "key: empty")
