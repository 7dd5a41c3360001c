"""The model of a command: by name, level or engine; loaded when the first block of any of its files needs it."""

from typing import TYPE_CHECKING

from llmzip.cli.display import Display, printable
from llmzip.models import Engine
from llmzip.models.source import ModelSource

if TYPE_CHECKING:
    from llmzip.models import Model


class ToldSource(ModelSource):
    """What is compressed with is kept, so that its files find it again; with -v, where a model was found."""

    def __init__(
        self, name: str | None, display: Display, *, engine: Engine, device: str | None, threads: int | None
    ) -> None:
        super().__init__(name, engine=engine, device=device, threads=threads)
        self._display = display

    def to_compress(self) -> "Model":
        is_named = isinstance(self._given, str)
        model = super().to_compress()
        if is_named and model.exact:
            keep_model(model, self._display)
        return model

    def to_decompress(self, fingerprint: bytes) -> "Model":
        is_new = self._given is None and fingerprint not in self._loaded
        model = super().to_decompress(fingerprint)
        if is_new:
            self._display.detail(f"the model {printable(model.name)} is in {folder_text(model)}")
        return model


def keep_model(model: "Model", display: Display) -> None:
    """A model of the user's own goes into the cache: files that name it can be decoded when its folder is gone."""
    from llmzip.models import known, registry

    if getattr(model, "folder", None) is None:
        return
    models = known.models_dir()
    before = set(models.iterdir()) if models is not None and models.is_dir() else set()
    kept = registry.keep(model)
    if kept is None:
        display.warning(
            f"the model {printable(model.name)} cannot be kept in the cache; its files need it: {folder_text(model)}",
            hint="keep that folder, or set LLMZIP_CACHE to a folder that can be written",
        )
    elif models is not None and kept.parent == models and kept not in before:
        display.note(f"the model {model.name} is kept in {kept}: its files will find it there")


def folder_text(model: "Model") -> str:
    return printable(str(getattr(model, "folder", "no folder")))


def model_of_level(level: int, display: Display) -> str:
    """The model of -1 to -9. Where it has not been pulled, the bundled one does it."""
    from llmzip.models import known

    name = known.LEVELS[level].model
    if known.is_installed(name):
        return name
    display.note(
        f"-{level} is for {name}, which is not installed; taking {known.DEFAULT_MODEL} (llmzip models pull {name})"
    )
    return known.DEFAULT_MODEL
