"""The synthetic nuScenes databases with the official program's figures, unpacked once per session."""

from __future__ import annotations

import os
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class NuscenesSet:
    """One unpacked set."""

    folder: Path
    version: str

    @property
    def root(self) -> Path:
        """Root of the database."""
        return self.folder / "data"

    def results(self) -> list[tuple[str, str]]:
        """Every (split, name) of a result file with official figures."""
        return sorted((path.parent.name, path.stem) for path in (self.folder / "predictions").glob("*/*.json"))

    def prediction(self, split: str, name: str) -> Path:
        """A result file."""
        return self.folder / "predictions" / split / f"{name}.json"

    def official(self, split: str, name: str) -> Path:
        """Folder of the official figures of a result file."""
        return self.folder / "official" / split / name


def find_shared_nuscenes() -> Path | None:
    """The folder of the sets: nuscenes in $LIDAR_EBM_SHARED, or shared/nuscenes in or beside the checkout."""
    candidates = [ROOT / "shared" / "nuscenes", ROOT.parent / "shared" / "nuscenes"]
    if "LIDAR_EBM_SHARED" in os.environ:
        candidates.insert(0, Path(os.environ["LIDAR_EBM_SHARED"]) / "nuscenes")
    return next((path for path in candidates if (path / "public").is_dir()), None)


def unpack_set(name: str, factory: pytest.TempPathFactory) -> Path:
    """Folder of an unpacked set; skips the test where the archive is not there."""
    shared = find_shared_nuscenes()
    archive = None if shared is None else shared / "public" / f"{name}.tar.xz"
    if archive is None or not archive.exists():
        pytest.skip(f"no {name}.tar.xz here (set LIDAR_EBM_SHARED to a folder with nuscenes/public)")
    folder = factory.mktemp("nuscenes")
    with tarfile.open(archive) as file:
        if hasattr(tarfile, "data_filter"):
            file.extractall(folder, filter="data")
        else:
            file.extractall(folder)
    return folder / name


@pytest.fixture(scope="session")
def public_a(tmp_path_factory: pytest.TempPathFactory) -> NuscenesSet:
    """The v1.0-mini set, with the cases of files that are accepted or refused."""
    return NuscenesSet(unpack_set("public_a", tmp_path_factory), "v1.0-mini")


@pytest.fixture(scope="session")
def public_b(tmp_path_factory: pytest.TempPathFactory) -> NuscenesSet:
    """The v1.0-trainval set: shuffled rows, custom splits."""
    return NuscenesSet(unpack_set("public_b", tmp_path_factory), "v1.0-trainval")
