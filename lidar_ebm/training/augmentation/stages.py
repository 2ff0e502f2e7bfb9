"""Label-database sampling over a whole training: in which stages it is on, of which database, and what to say of it."""

from __future__ import annotations

from collections.abc import Mapping

from lidar_ebm.config.augmentation import SamplingConfig
from lidar_ebm.config.config import Config
from lidar_ebm.datasets.data_set import DataSet
from lidar_ebm.datasets.preparation.label_database import LabelDatabase, load_label_database
from lidar_ebm.errors import InputError
from lidar_ebm.training.augmentation.sampling import ObjectDatabase, describe_sampling


def open_label_database(data: DataSet, config: Config) -> LabelDatabase | None:
    """The objects that augmentation puts into frames; None where it puts in none.

    Raises:
        InputError: as `load_label_database`.
    """
    stages = _sampling_stages(config).values()
    if not any(settings.count_of(name) for settings in stages for name in config.class_names):
        return None
    try:
        return load_label_database(data, config.points.sweeps)
    except InputError as error:
        raise InputError(f"{error} Or train without it: augmentation.sampling.enabled=false.") from error


def describe_stages(config: Config, database: ObjectDatabase | None) -> list[str]:
    """Lines on the objects that augmentation puts into frames: one for each class, and each stage where they differ.

    Args:
        database: as `open_label_database` gave it.

    Raises:
        InputError: a difficulty in the settings is none of the database's data set.
    """
    stages = _sampling_stages(config)
    if database is None:
        names = ", ".join(config.class_names)
        line = f"no objects are put into frames: augmentation.sampling.counts has none of {names} (null: 15 of each)"
        return [line] if stages else []
    said = {stage: describe_sampling(settings, database, config.classes) for stage, settings in stages.items()}
    if len(said) == _count_stages(config) and len(set(said.values())) == 1:
        return list(next(iter(said.values())))
    return [f"{stage} stage: {line}" for stage, lines in said.items() for line in lines]


def with_all_counts(config: Config) -> Config:
    """The same configuration with a count for every class and no others, to be compared with another."""
    common = config.augmentation
    counts = {name: common.sampling.count_of(name) for name in config.class_names}
    sampling = common.sampling.model_copy(update={"counts": counts})
    return config.model_copy(update={"augmentation": common.model_copy(update={"sampling": sampling})})


def _count_stages(config: Config) -> int:
    return 2 if config.training.mode == "two_stage" else 1


def _sampling_stages(config: Config) -> Mapping[str, SamplingConfig]:
    """The settings of sampling in each stage that has it."""
    stages = ("detector", "energy")[: _count_stages(config)]
    settings = {stage: config.stage_augmentation(stage).sampling for stage in stages}
    return {stage: each for stage, each in settings.items() if each.enabled}
