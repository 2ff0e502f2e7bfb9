"""`dataset.yaml`: where points and labels of a data set lie, what they mean, and how its sensor stands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from lidar_ebm.errors import InputError
from lidar_ebm.formats.box_format import closest
from lidar_ebm.formats.text_lists import decode_text
from lidar_ebm.system.files import read_bytes

FILE = "dataset.yaml"
DEFAULT_AXES = "x forward, y left, z up"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class PointSettings(_Section):
    """Place and format of the point clouds, one file a frame."""

    folder: str = "points"
    format: str | None = None  # suffix without its dot, or a data set's format (pandaset, argoverse2); None: any
    columns: str | None = None  # names of the columns of .bin and .npy files, separated by commas
    dtype: str | None = None  # of .bin files: float32 or float64


class LabelSettings(_Section):
    """Place and format of the labels."""

    folder: str = "labels"  # one file a frame, of the point cloud's name; or a file or folder of all frames
    format: str | None = None  # json, csv, or the name of a box format; None: recognised


class SensorSettings(_Section):
    """Placement of the sensor, and the meaning of its numbers."""

    axes: str = DEFAULT_AXES  # of the files
    height: Annotated[float, Field(ge=0)] | None = None  # above the ground, m; None: as the files have it
    unit: Annotated[float, Field(gt=0)] = 1.0  # m, that the files' 1.0 is
    reflectance: Annotated[float, Field(gt=0)] | None = None  # the files' value that is 1.0; None: by the values
    range: Annotated[float, Field(gt=0)] | None = None  # m, horizontally; points and labels beyond are left out


class FolderSettings(_Section):
    """All of a `dataset.yaml`."""

    points: PointSettings = PointSettings()
    labels: LabelSettings | None = LabelSettings()
    classes: tuple[str, ...] = ()  # none: every name that the labels have
    merge: Mapping[str, str] = Field(default={})  # the labels' names for a class, if they have others
    splits: Mapping[str, str | float] = Field(default={})  # by a file of frame names, or by a fraction
    sensor: SensorSettings = SensorSettings()
    prepared: str = "prepared"

    @field_validator("points", mode="before")
    @classmethod
    def _folder_of_points(cls, value: Any) -> Any:
        return {"folder": value} if isinstance(value, str) else value

    @field_validator("labels", mode="before")
    @classmethod
    def _folder_of_labels(cls, value: Any) -> Any:
        return {"folder": value} if isinstance(value, str) else value

    @field_validator("classes", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fits_together(self) -> FolderSettings:
        for old, new in self.merge.items():
            if self.classes and new not in self.classes:
                raise ValueError(f"merge: {old!r} becomes {new!r}{closest(new, self.classes)}, which is no class here")
        shares = {name: share for name, share in self.splits.items() if not isinstance(share, str)}
        for name, share in shares.items():
            if not 0 < share <= 1:
                raise ValueError(f"splits: {name} is {share}; give the name of a file, or a fraction up to 1")
        if sum(shares.values()) > 1 + 1e-9:
            raise ValueError(f"splits: the fractions add up to {sum(shares.values()):g}; give at most 1 in all")
        return self


def read_settings(path: Path) -> FolderSettings:
    """Read a `dataset.yaml`.

    Raises:
        InputError: it cannot be read, is no YAML, or a setting is unknown or makes no sense; the message names it.
    """
    try:
        values = yaml.safe_load(decode_text(read_bytes(path), path))
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{path}: is no YAML ({' '.join(str(error).split())}). docs/data_sets.md shows it.") from error
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise InputError(f"{path}: holds no settings. Expected `key: value` lines (docs/data_sets.md shows them).")
    try:
        return FolderSettings.model_validate(values)
    except ValidationError as error:
        raise InputError("\n".join(_explain(path, problem) for problem in error.errors())) from error


def _explain(path: Path, problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        sections: dict[str, type[BaseModel]] = {
            "points": PointSettings,
            "labels": LabelSettings,
            "sensor": SensorSettings,
        }
        model = sections.get(str(problem["loc"][0]), FolderSettings) if len(problem["loc"]) > 1 else FolderSettings
        names = list(model.model_fields)
        return (
            f"{path}: unknown setting {key!r}{closest(str(problem['loc'][-1]), names)}; there are {', '.join(names)}."
        )
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{path}: {key or 'settings'} = {problem.get('input')!r}: {message}." if key else f"{path}: {message}."
