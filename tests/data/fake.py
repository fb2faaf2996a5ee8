"""An in-memory source for tests of everything behind the sources."""

from __future__ import annotations

from collections.abc import Collection

import torch

from franca.data.sample import BadSample, Sample


class FakeSource:
    """Noise images, of one grey value each when ``flat``; those whose index is ``bad`` cannot be read."""

    kind = "folder"
    location = "memory"
    class_names = None

    def __init__(self, num_samples: int, *, flat: bool = False, bad: Collection[int] = ()) -> None:
        self.group_sizes = (num_samples,)
        self._flat = flat
        self._bad = frozenset(bad)

    def __len__(self) -> int:
        return self.group_sizes[0]

    def read(self, index: int) -> Sample:
        if index in self._bad:
            raise BadSample(str(index), "truncated")
        if self._flat:
            return Sample(str(index), torch.full((3, 20, 24), index, dtype=torch.uint8))
        noise = torch.Generator().manual_seed(index)
        return Sample(str(index), torch.randint(0, 256, (3, 20, 24), dtype=torch.uint8, generator=noise))
