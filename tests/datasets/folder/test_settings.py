"""`dataset.yaml`: what may be left out, and what is said of settings that are misspelt or make no sense."""

from __future__ import annotations

from pathlib import Path

import pytest

from lidar_ebm.datasets.folder.settings import DEFAULT_AXES, FolderSettings, read_settings
from lidar_ebm.errors import InputError


def written(folder: Path, text: str) -> Path:
    path = folder / "dataset.yaml"
    path.write_text(text)
    return path


def test_all_may_be_left_out(tmp_path: Path) -> None:
    settings = read_settings(written(tmp_path, ""))
    assert settings == FolderSettings()
    assert (settings.points.folder, settings.labels and settings.labels.folder) == ("points", "labels")
    assert (settings.sensor.axes, settings.sensor.unit, settings.sensor.height) == (DEFAULT_AXES, 1.0, None)


def test_folders_may_be_given_alone_and_a_class_without_brackets(tmp_path: Path) -> None:
    settings = read_settings(written(tmp_path, "points: scans\nlabels: boxes\nclasses: forklift\n"))
    assert settings.points.folder == "scans"
    assert settings.labels is not None
    assert settings.labels.folder == "boxes"
    assert settings.classes == ("forklift",)
    assert read_settings(written(tmp_path, "labels: null\n")).labels is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_names_may_be_of_any_script(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "dataset.yaml"
    path.write_text("classes: [フォークリフト, Fußgänger]\n", encoding=encoding)
    assert read_settings(path).classes == ("フォークリフト", "Fußgänger")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("point: scans\n", r"dataset\.yaml: unknown setting 'point'.*points"),
        ("sensor: {hight: 1.8}\n", r"unknown setting 'sensor\.hight'.*height"),
        ("sensor: {unit: 0}\n", r"sensor\.unit = 0: .*greater than 0"),
        ("sensor: {height: -1}\n", r"sensor\.height = -1"),
        ("sensor: {range: .inf}\n", r"sensor\.range"),
        ("sensor: {reflectance: many}\n", r"sensor\.reflectance = 'many'"),
        ("classes: [forklift]\nmerge: {stacker: fork_lift}\n", r"merge: 'stacker' becomes 'fork_lift'.*forklift"),
        ("splits: {val: 1.5}\n", r"val is 1\.5; give the name of a file, or a fraction up to 1"),
        ("splits: {val: 0}\n", r"val is 0"),
        ("splits: {train: 0.9, val: 0.2}\n", r"fractions add up to 1\.1"),
        ("- points\n", r"dataset\.yaml: holds no settings"),
        ("points: {folder: [\n", r"dataset\.yaml: is no YAML"),
        ("points: {folder: [1]}\n", r"points\.folder"),
    ],
)
def test_what_makes_no_sense_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_settings(written(tmp_path, text))


def test_what_is_no_text_or_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "dataset.yaml").write_bytes(b"classes: [\xff]")
    with pytest.raises(InputError, match=r"dataset\.yaml: this is no text file in UTF-8 \(byte 10\)"):
        read_settings(tmp_path / "dataset.yaml")
    with pytest.raises(InputError, match=r"nowhere\.yaml"):
        read_settings(tmp_path / "nowhere.yaml")
