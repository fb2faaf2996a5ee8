"""Some images of a source, taken evenly from all of it."""

from __future__ import annotations

from franca.data.sample import Sample, Source


class Subset:
    """At most ``num_images`` of a source, as far from each other as they can be, in its order."""

    def __init__(self, source: Source, num_images: int) -> None:
        self.source = source
        self._indices = evenly_spaced(len(source), num_images)
        count = len(self._indices)
        self.kind = source.kind
        self.class_names = source.class_names
        self.location = source.location if count == len(source) else f"{count:,} images of {source.location}"
        self.group_sizes = (count,)

    def __len__(self) -> int:
        return len(self._indices)

    def read(self, index: int) -> Sample:
        """The image at ``index`` of those that were taken."""
        return self.source.read(self._indices[index])


def evenly_spaced(total: int, wanted: int | None) -> list[int]:
    """So many of ``total`` places at equal distances, from the first on; None, or more than there are, takes all."""
    count = total if wanted is None else min(wanted, total)
    return [number * total // count for number in range(count)]
