"""The verb `landscape`, as a user calls it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from lidar_ebm.cli.landscape import landscape
from lidar_ebm.config.config import Config
from lidar_ebm.config.loading import save_config
from lidar_ebm.datasets.opening import open_samples
from lidar_ebm.errors import InputError
from lidar_ebm.formats.kitti.files import write_split
from lidar_ebm.formats.text_lists import read_names
from lidar_ebm.runs.model import Model
from lidar_ebm.runs.run import save_weights
from lidar_ebm.workflows.landscape import find_points, read_frame
from tests.visualization.test_bev_plot import read_picture

pytestmark = pytest.mark.filterwarnings("ignore:.*how sure the energy is")


@pytest.fixture
def trained(eager_config: Config, tmp_path: Path) -> Path:
    """A run that has learnt nothing but proposes boxes all the same."""
    save_config(eager_config, tmp_path / "run" / "config.yaml")
    save_weights(Model(eager_config), eager_config, tmp_path / "run" / "model.safetensors")
    return tmp_path / "run"


def call(*arguments: object) -> list[str]:
    app = typer.Typer()
    app.command()(landscape)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None:
        raise result.exception
    return result.stdout.split()


def a_frame(simulated: Path) -> str:
    return read_names(simulated / "ImageSets" / "val.txt")[0]


def test_a_frame_of_a_data_set_and_its_file_make_the_same_picture(
    trained: Path, simulated: Path, tmp_path: Path
) -> None:
    name = a_frame(simulated)
    (by_name,) = call(trained, name, "--data", simulated)
    assert Path(by_name) == trained / "pictures" / f"landscape_{name}_0.png"
    file = simulated / "training" / "velodyne" / f"{name}.bin"
    written = call(trained, file, "--out", tmp_path / "out", "--box", 0, "--box", 2, "--theme", "dark")
    assert [Path(path).name for path in written] == [f"landscape_{name}_{box}.png" for box in (0, 2)]
    light, dark = read_picture(Path(by_name)), read_picture(Path(written[0]))
    assert light.shape == dark.shape
    assert light[0, 0].min() > 250
    assert dark[0, 0].max() < 40


def test_the_frame_is_the_one_that_training_sees(simulated: Path, tiny_config: Config) -> None:
    whole = open_samples(simulated, "val", tiny_config, cropped=False)
    for index in range(len(whole)):
        points, labels = read_frame(find_points(whole.frame_id(index), simulated))
        np.testing.assert_array_equal(points, whole[index].points)
        assert labels is not None
        for box in whole[index].boxes:
            assert np.abs(labels - box).max(axis=1).min() < 1e-4


def test_bare_point_clouds_have_no_labels_unless_given(tmp_path: Path, simulated: Path) -> None:
    np.save(tmp_path / "cloud.npy", np.random.default_rng(0).uniform(-9, 9, (50, 4)))
    points, labels = read_frame(tmp_path / "cloud.npy")
    assert len(points) == 50
    assert labels is None
    given = simulated / "training" / "label_2" / f"{a_frame(simulated)}.txt"
    assert read_frame(tmp_path / "cloud.npy", given)[1] is not None


def test_what_cannot_be_used_is_refused_by_name(trained: Path, simulated: Path, tmp_path: Path) -> None:
    name = a_frame(simulated)
    with pytest.raises(InputError, match=r"999999\.bin.*frame 999999"):
        call(trained, "999999", "--data", simulated)
    with pytest.raises(InputError, match=r"000000: no such point cloud.*--data"):
        call(trained, "000000")
    with pytest.raises(InputError, match="box 100000"):
        call(trained, name, "--data", simulated, "--box", 100_000)
    with pytest.raises(InputError, match="theme 'red'"):
        call(trained, name, "--data", simulated, "--theme", "red")
    write_split(tmp_path / "labels.txt", ["000001"])
    with pytest.raises(InputError, match=r"labels\.txt:1"):
        call(trained, name, "--data", simulated, "--label", tmp_path / "labels.txt")
