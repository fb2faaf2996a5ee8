"""The weights that others released for the backbones that have a name: what they are and where they lie.

Addresses, grids and digests are as their authors and other projects state them. What a name builds stands in
`franca.models.registry.RELEASES`.
"""

from __future__ import annotations

from dataclasses import dataclass

from franca.errors import CheckpointError
from franca.models.registry import RELEASES

FRANCA_URL = "https://github.com/valeoai/Franca/releases/download"
FRANCA_SOURCE = "Franca, arXiv 2507.14137; github.com/valeoai/Franca"
FRANCA_LICENCE = "research-only RAIL"
DINOV2_URL = "https://dl.fbaipublicfiles.com/dinov2"
DINOV2_SOURCE = "DINOv2, arXiv 2304.07193; github.com/facebookresearch/dinov2"
DINOV2_LICENCE = "Apache-2.0"

GRID_224 = (16, 16)
GRID_518 = (37, 37)


@dataclass(frozen=True, kw_only=True)
class Weights:
    """One set of released weights.

    Args:
        model: a name of `RELEASES`.
        name: what to pass as ``weights=``; letter case does not matter.
        grid: rows and columns of the stored position embeddings.
        licence: of the weights.
        source: who made them, and where that is said.
        file: name in the cache, and of the original.
        urls: of the file; or of the pieces, in order, of a gzipped tar that holds it.
        sha256: of the file, in hexadecimal; None where nobody states it.
        why_not_public: the reason why there is no file; empty where there is one.
    """

    model: str
    name: str
    grid: tuple[int, int]
    licence: str
    source: str
    file: str = ""
    urls: tuple[str, ...] = ()
    sha256: str | None = None
    why_not_public: str = ""

    @property
    def public(self) -> bool:
        """Whether there is a file that anybody can download."""
        return not self.why_not_public

    @property
    def patch_size_px(self) -> int:
        """Height and width of a patch, in pixels."""
        size: int = RELEASES[self.model]["patch_size_px"]
        return size

    @property
    def image_size_px(self) -> tuple[int, int]:
        """Height and width of the images that the grid belongs to."""
        return self.grid[0] * self.patch_size_px, self.grid[1] * self.patch_size_px

    @property
    def spellings(self) -> set[str]:
        """The name, and the word for it in the file's name, which the authors also used; in lower case."""
        stem = self.file.rpartition(".")[0]
        return {self.name.lower(), stem.removeprefix(f"{self.model}_").lower()} - {""}


def _franca(model: str, name: str, release: str, file: str, grid: tuple[int, int], pieces: str = "") -> Weights:
    """``pieces`` are the last letters of the addresses of a file that is cut."""
    whole = f"{FRANCA_URL}/{release}/{file}"
    cut = tuple(f"{whole.removesuffix('.pth')}_chunked.tar.gz.part_a{letter}" for letter in pieces)
    return Weights(
        model=model,
        name=name,
        grid=grid,
        licence=FRANCA_LICENCE,
        source=FRANCA_SOURCE,
        file=file,
        urls=cut or (whole,),
    )


def _not_public(model: str, name: str, why: str) -> Weights:
    return Weights(
        model=model,
        name=name,
        grid=GRID_224,
        licence=FRANCA_LICENCE,
        source=FRANCA_SOURCE,
        why_not_public=why,
    )


def _dinov2(model: str, sha256: str) -> Weights:
    plain = model.removesuffix("_reg")
    file = f"{plain}{'_reg4' if model != plain else ''}_pretrain.pth"
    return Weights(
        model=model,
        name="LVD142M",
        grid=GRID_518,
        licence=DINOV2_LICENCE,
        source=DINOV2_SOURCE,
        file=file,
        urls=(f"{DINOV2_URL}/{plain}/{file}",),
        sha256=sha256,
    )


# The first public weights of a model are its default.
WEIGHTS: tuple[Weights, ...] = (
    _franca("franca_vitb14", "IN21K", "v1.0.0", "franca_vitb14_In21K.pth", GRID_518),
    _franca("franca_vitb14", "IN21K_224", "v1.1.0", "franca_vitb14_In21K_224.pth", GRID_224),
    _franca("franca_vitb14", "IN21K_518", "v1.1.0", "franca_vitb14_In21K_518.pth", GRID_518),
    _franca("franca_vitb14", "DINOV2_IN21K", "v1.1.0", "franca_vitb14_Dinov2_In21K.pth", GRID_224),
    _franca("franca_vitb14", "DINOV2_IN21K_518", "v1.1.0", "franca_vitb14_Dinov2_In21K_518.pth", GRID_518),
    _franca("franca_vitl14", "LAION", "v1.0.0", "franca_vitl14_Laion600M.pth", GRID_518),
    _franca("franca_vitl14", "LAION_224", "v1.1.0", "franca_vitl14_Laion600M_224.pth", GRID_224),
    _franca("franca_vitl14", "LAION_518", "v1.1.0", "franca_vitl14_Laion_518.pth", GRID_518),
    _franca("franca_vitl14", "DINOV2_IN21K", "v1.1.0", "franca_vitl14_Dinov2_In21K.pth", GRID_224),
    _franca("franca_vitl14", "DINOV2_IN21K_518", "v1.1.0", "franca_vitl14_Dinov2_In21K_518.pth", GRID_518),
    _not_public("franca_vitl14", "IN21K", "the file that its authors kept is identical to DINOv2-L"),
    _franca("franca_vitg14", "LAION", "v1.0.0", "franca_vitg14_Laion600M.pth", GRID_224, pieces="abc"),
    _not_public("franca_vitg14", "IN21K", "its release is incomplete"),
    _dinov2("dinov2_vits14", "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9"),
    _dinov2("dinov2_vits14_reg", "f433177089a681826f849f194ece3bb48f4d63fb38d32fc837e3dc7a4e5641fb"),
    _dinov2("dinov2_vitb14", "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73"),
    _dinov2("dinov2_vitb14_reg", "73182a088cf94833c94b1666d1c99e02fe87e2007bff57b564fb6206e25dba71"),
    _dinov2("dinov2_vitl14", "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428"),
    _dinov2("dinov2_vitl14_reg", "36e4deffbaef061a2576705b0c36f93621e2ae20bf6274694821b0b492551b51"),
    _dinov2("dinov2_vitg14", "baf8467e50af277596bbbafa06887c177ee899ab46033649c383577d7e9309d3"),
    _dinov2("dinov2_vitg14_reg", "746ecb8c6301c645c5c855be91687d274587d6e48fdaec4a729753160b34a283"),
)


def weights_of(model: str) -> list[Weights]:
    """All weights of a model, the default first; those that are not public too."""
    return [weights for weights in WEIGHTS if weights.model == model]


def default_weights(model: str) -> Weights:
    """The weights that a name stands for.

    Raises:
        CheckpointError: if none are public.
    """
    for weights in weights_of(model):
        if weights.public:
            return weights
    raise CheckpointError(
        f"{model} has no public weights. Pass weights=PATH or weights=URL to load a file, or pretrained=False for "
        "random weights."
    )


def find_weights(model: str, name: str) -> Weights | None:
    """The weights of a model by their name, in any letter case; None if there are none of that name.

    Raises:
        CheckpointError: if they are not public.
    """
    for weights in weights_of(model):
        if name.lower() in weights.spellings:
            if not weights.public:
                raise CheckpointError(
                    f"The weights {weights.name} of {model} are not public: {weights.why_not_public}. {choices(model)}"
                )
            return weights
    return None


def remark(weights: Weights) -> str:
    """What to say after the name of weights: that they are the default, or not public."""
    default = next((other for other in weights_of(weights.model) if other.public), None)
    return " (default)" if weights is default else "" if weights.public else " (not public)"


def choices(model: str) -> str:
    """Everything that ``weights=`` takes for a model, as text."""
    listed = ", ".join(weights.name + remark(weights) for weights in weights_of(model)) or "none by name"
    return f"Weights of {model}: {listed}. A path or a URL of a file works too."
