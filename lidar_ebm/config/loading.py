"""Reading, checking and writing configurations."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import (
    ValidationError,
)
from yaml import YAMLError

from lidar_ebm.config.config import Config
from lidar_ebm.config.migration import migrated
from lidar_ebm.errors import InputError
from lidar_ebm.system.files import atomic_write

_CLASSES = "[{name: forklift, anchor_size: [3.9, 1.6, 1.56]}]"  # length, width, height in m


def configuration_folder() -> Path:
    """Folder of the presets: `configs/` of the checkout, or their copy in the installed package."""
    packaged = Path(__file__).resolve().parents[1] / "configs"
    return packaged if packaged.is_dir() else packaged.parents[1] / "configs"


def load_config(source: str | Path | None = None, overrides: list[str] | None = None) -> Config:
    """Read a configuration.

    Args:
        source: path of a YAML file, or the name of a preset in `configs/`; None for the defaults.
        overrides: `dotted.key=value` strings that replace single settings; lists are replaced whole.

    Raises:
        InputError: the file is missing or is no YAML, a key is unknown, or a value is out of its range.

    Settings of earlier versions are taken over, with a warning that says what has become of them.
    """
    name = "defaults" if source is None else str(source)
    data: Any = {}
    try:
        if source is not None:
            path = Path(source)
            if not path.is_file():
                path = configuration_folder() / f"{source}.yaml"
            if not path.is_file():
                presets = ", ".join(sorted(item.stem for item in configuration_folder().glob("*.yaml")))
                raise InputError(
                    f"{source}: no such configuration. Give a YAML file, or one of the presets: {presets}."
                )
            data = OmegaConf.load(path)
            if not OmegaConf.is_dict(data):
                raise InputError(f"{path}: holds no settings. Expected `key: value` lines in YAML.")
        for item in overrides or []:
            if "=" not in item:
                raise InputError(f"{item!r}: an override is written key=value, for example training.detector.epochs=5.")
        # The file first, so that a setting given today is put over one of earlier times.
        values, notes = migrated(OmegaConf.to_container(OmegaConf.create(data)))  # type: ignore[arg-type]
        merged = OmegaConf.merge(values, OmegaConf.from_dotlist(list(overrides or [])))
        values = OmegaConf.to_container(merged, resolve=True)  # type: ignore[assignment]
    except (OmegaConfBaseException, YAMLError, UnicodeDecodeError, TypeError) as error:
        raise InputError(f"{name}: is not a readable configuration: {error}") from error
    values, further = migrated(values)
    for note in (*notes, *further):
        warnings.warn(f"{name}: {note}", stacklevel=2)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise InputError("\n".join(_explain_all(name, error.errors()))) from error


def _explain_all(name: str, problems: Sequence[Any]) -> Iterable[str]:
    """One line for each problem, but none for what holds a wrong part, nor twice the same."""
    places = [problem["loc"] for problem in problems]
    return dict.fromkeys(
        _explain(name, problem)
        for problem in problems
        if not any(
            len(place) > len(problem["loc"]) and place[: len(problem["loc"])] == problem["loc"] for place in places
        )
    )


def _explain(name: str, problem: Any) -> str:
    """One line for one of pydantic's problems."""
    key = ".".join(str(part) for part in problem["loc"] if part not in ("one", "each"))
    if problem["type"] == "extra_forbidden":
        model: Any = Config
        for part in problem["loc"][:-1]:
            if isinstance(part, int):
                continue
            annotation = model.model_fields[part].annotation
            model = next((a for a in getattr(annotation, "__args__", ()) if hasattr(a, "model_fields")), annotation)
            if hasattr(annotation, "model_fields"):
                model = annotation
        setting_names = list(getattr(model, "model_fields", {}))
        close = difflib.get_close_matches(str(problem["loc"][-1]), setting_names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known there: {', '.join(setting_names)}."
        return f"{name}: unknown setting {key!r}; {hint}"
    if problem["loc"][:1] == ("classes",) and len(problem["loc"]) <= 2:
        return f"{name}: classes is a list such as {_CLASSES}; got {problem.get('input')!r}."
    return f"{name}: {key or 'settings'} = {problem.get('input')!r}: {problem['msg']}."


def save_config(config: Config, path: str | Path) -> None:
    """Write every setting, defaults too, as YAML."""
    with atomic_write(path, "w") as file:
        file.write(OmegaConf.to_yaml(OmegaConf.create(config.model_dump(mode="json"))))
