from __future__ import annotations

from pathlib import Path

import pytest

from lidar_ebm.config.augmentation import ObjectNoiseConfig
from lidar_ebm.config.config import Config
from lidar_ebm.config.detector import VoxelConfig
from lidar_ebm.config.loading import configuration_folder, load_config, save_config
from lidar_ebm.errors import InputError


def test_defaults_are_the_published_grid() -> None:
    config = Config()
    assert config.voxels.grid_shape == (40, 1600, 1408)
    assert config.bev_shape == (5, 200, 176)
    assert config.bev_grid.cell_size == pytest.approx((0.4, 0.4))
    assert config.bev_grid.origin == pytest.approx((0.2, -39.8))


def test_defaults_are_the_published_noise() -> None:
    scales = ((0.05, 0.025, 0.0125), (0.1, 0.05, 0.025), (0.2, 0.1, 0.05))
    for row, (plane, rest, yaw) in zip(Config().energy.noise.stds, scales, strict=True):
        assert row == pytest.approx([1.25 * s for s in (plane, plane, rest, rest, rest, rest, yaw)])


@pytest.mark.parametrize("path", sorted(configuration_folder().glob("*.yaml")), ids=lambda path: path.stem)
def test_presets_load_and_say_what_they_are_for(path: Path) -> None:
    assert load_config(path.stem) == load_config(path)
    assert path.read_text().startswith("# ")


def test_saved_configuration_reads_back(tmp_path: Path) -> None:
    config = load_config("demo", ["seed=3", "energy.features=[bev,points]"])
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config


def test_overrides_replace_single_settings() -> None:
    config = load_config("demo", ["training.detector.epochs=7", "voxels.size=[0.2,0.2,0.4]"])
    assert config.training.detector.epochs == 7
    assert config.voxels.size == (0.2, 0.2, 0.4)
    assert config.bev.channels == load_config("demo").bev.channels


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("voxels.sizes=[1,1,1]", ["voxels.sizes", "did you mean 'size'"]),
        ("trainings.seed=1", ["trainings", "did you mean 'training'"]),
        ("backbone.stages=[{channels: 8, layers: 1, strides: [2,2,2]}]", ["strides", "did you mean 'stride'"]),
        ("training.detector.epochs=-1", ["training.detector.epochs", "-1", "greater"]),
        ("energy.features=[map]", ["energy.features", "map"]),
        ("voxels.size=[0.3,0.1,0.1]", ["voxels", "whole number of voxels"]),
        ("energy.noise.stds=[[1,1]]", ["energy.noise", "7 values"]),
        ("no_value", ["key=value"]),
        ("seed=5000000000", ["seed", "5000000000"]),
        ("refinement.step_length=.inf", ["refinement.step_length", "finite"]),
        (
            "refinement.step_length=[1,2]",
            ["refinement.step_length = [1, 2]", "7 values (x, y, z, l, w, h, yaw)"],
        ),
        ("refinement.step_length=[1,1,1,1,1,1,-1]", ["refinement.step_length.6 = -1", "greater"]),
        ("refinement.rule=newton", ["refinement.rule", "'momentum'"]),
        ("refinement.starts=0", ["refinement.starts", "greater"]),
        ("energy.objective.method=nce-plus", ["energy.objective.method", "'nce+'", "'learned-ml-is'"]),
        ("energy.objective.method=sm", ["energy = ", "energy.activation=silu"]),
        ("energy.objective.label_stds=[1]", ["energy.objective.label_stds", "7 values"]),
        ("energy.objective.langevin_step_length=0", ["energy.objective.langevin_step_length", "greater than 0"]),
        ("energy.objective.label_noise=0", ["energy.objective.label_noise", "greater than 0"]),
        ("energy.noise.boundary=wrapped", ["energy.noise.boundary", "'clamped'"]),
        ("energy.noise.flip_share=1", ["energy.noise.flip_share", "less than 1"]),
        ("head=centre", ["head", "'center'"]),
        ("encoder=pillars", ["encoder=pillars", "voxels.size", "0.1 m", "third number to 4"]),
        ("bev.map_stride=2", ["bev.map_stride=2", "bev.scales"]),
        ("center_head.groups=[[Car, Van]]", ["center_head.groups", "'Van' is no class here; there are Car"]),
        ("center_head.groups=[[Car], [Car]]", ["center_head.groups", "'Car' is there twice"]),
        ("center_head.groups=[]", ["center_head.groups", "'Car' is there in none"]),
        ("center_head.rectification=[0.5, 0.5]", ["center_head.rectification", "2 numbers for 1 classes"]),
        ("detection.nms=circle", ["detection.nms=circle", "'Car'", "detection.nms_radii"]),
        ("detection.nms_radii={car: 1.0}", ["detection.nms_radii", "'car' is no class here"]),
        ("detection.flips=y", ["detection.flips=y", "head=center"]),
        ("classes=[{name: Car}, {name: Van, merge: [Car]}]", ["'Car' belongs to two classes"]),
        ("classes=[{name: Bus}, {name: bus}]", ["'Bus' belongs to two classes"]),
        ("classes=[{name: ''}]", ["classes.0.name", "at least 1 character"]),
    ],
)
def test_bad_settings_are_named(override: str, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        load_config(None, [override])
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "method", ["nce", "nce+", "ml-is", "kld-is", "ml-mcmc", "sm", "dsm", "learned-nce", "learned-ml-is"]
)
def test_every_training_method_is_one_line(method: str, tmp_path: Path) -> None:
    smooth = ["energy.activation=silu"] if method == "sm" else []
    config = load_config("demo", [f"energy.objective.method={method}", *smooth])
    assert config.energy.objective.method == method
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config


def test_a_class_may_have_any_name(tmp_path: Path) -> None:
    config = load_config(None, ["classes=[{name: reach truck, merge: [stapler-2]}, {name: Radfahrer:in}]"])
    assert config.class_names == ("reach truck", "Radfahrer:in")
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config


def test_step_lengths_are_one_or_seven() -> None:
    assert load_config(None, ["refinement.step_length=1e-3"]).refinement.step_length == 1e-3
    seven = load_config(None, ["refinement.step_length=[1,1,1,1,1,1,0]"]).refinement.step_length
    assert seven == (1, 1, 1, 1, 1, 1, 0)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("voxels: [1, 2")
    with pytest.raises(InputError, match=r"broken\.yaml"):
        load_config(broken)
    broken.write_bytes(b"seed: \xff")
    with pytest.raises(InputError, match=r"broken\.yaml"):
        load_config(broken)
    with pytest.raises(InputError, match=r"presets: .*demo"):
        load_config("no_such_preset")


def test_settings_cannot_change_after_loading() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().seed = 1  # type: ignore[misc]


def test_grid_shape_survives_decimal_fractions() -> None:
    assert VoxelConfig(range=(0, -20, -3, 48, 20, 1), size=(0.1, 0.1, 0.2)).grid_shape == (20, 400, 480)


def test_a_stage_changes_single_settings_of_augmentation() -> None:
    config = load_config(
        None,
        [
            "augmentation.object_noise.rotation=0.3",
            "training.energy.augmentation.object_noise.center_std=[1,1,0]",
            "training.energy.augmentation.sampling.enabled=false",
            "training.energy.augmentation.flip=false",
        ],
    )
    assert config.stage_augmentation("detector") == config.augmentation
    energy = config.stage_augmentation("energy")
    assert energy.object_noise == ObjectNoiseConfig(rotation=0.3, center_std=(1.0, 1.0, 0.0))
    assert not energy.sampling.enabled
    assert energy.sampling.counts == config.augmentation.sampling.counts
    assert not energy.flip
    assert energy.scaling == config.augmentation.scaling


def test_stage_augmentation_changes_are_checked() -> None:
    with pytest.raises(InputError, match=r"training\.energy\.augmentation\.scaling.*from low to high"):
        load_config(None, ["training.energy.augmentation.scaling=[2,1]"])
    with pytest.raises(
        InputError, match=r"unknown setting 'training\.energy\.augmentation\.object_noise\.centre_std'; did"
    ):
        load_config(None, ["training.energy.augmentation.object_noise.centre_std=[1,1,0]"])


def test_the_recommended_energy_s_frames_keep_objects_on_the_ground() -> None:
    config = load_config("recommended_car")
    assert config.stage_augmentation("detector").object_noise.enabled
    assert not config.stage_augmentation("energy").object_noise.enabled


@pytest.mark.parametrize(
    ("given", "wrong"),
    [("[forklift]", "'forklift'"), ("forklift", "'forklift'"), ("[]", "[]"), ("[{name: Car}, 3]", "3")],
)
def test_classes_that_are_none_are_shown_how_to_write(given: str, wrong: str) -> None:
    with pytest.raises(InputError) as caught:
        load_config(None, [f"classes={given}"])
    entry = "{name: forklift, anchor_size: [3.9, 1.6, 1.56]}"
    assert str(caught.value) == f"defaults: classes is a list such as [{entry}]; got {wrong}."
    load_config(None, [f"classes=[{entry}]"])


def test_what_holds_a_wrong_part_is_not_told_too() -> None:
    with pytest.raises(InputError) as caught:
        load_config(None, ["classes=[{name: Car, anchor_size: 3}]"])
    assert str(caught.value) == "defaults: classes.0.anchor_size = 3: Input should be a valid tuple."


def test_a_velocity_needs_the_points_lag_last() -> None:
    config = load_config(None, ["velocity=true", "points.channels=[reflectance,time_lag]"])
    assert config.box_dimensions == config.detector_settings.box_dimensions == 9
    assert Config().box_dimensions == Config().energy_settings.box_dimensions == 7
    with pytest.raises(InputError, match="time_lag"):
        load_config(None, ["velocity=true"])
    with pytest.raises(InputError, match="begins with reflectance"):
        load_config(None, ["points.channels=[time_lag]"])


PILLARS = ["encoder=pillars", "voxels.size=[0.1,0.1,4.0]"]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (PILLARS, ["point_head.enabled=true", "set point_head.enabled=false"]),
        ([*PILLARS, "voxels.max_points_per_voxel=5"], ["voxels.max_points_per_voxel", "encoder=pillars"]),
        (["head=center", "detection.flips=x"], ["detection.flips=x", "along x, from 0 to 70.4 m", "symmetric"]),
        (["head=center", "detection.flips=both"], ["detection.flips=both", "along x"]),
        (
            ["bev.map_stride=2", "bev.scales=[{channels: 8, layers: 0, stride: 3}]"],
            ["bev.scales.0", "3 of the encoder's", "bev.map_stride"],
        ),
    ],
)
def test_parts_that_do_not_fit_are_named(overrides: list[str], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        load_config(None, overrides)
    for word in words:
        assert word in str(caught.value)


def test_a_map_stride_makes_cells_larger_and_keeps_their_corner() -> None:
    scales = "bev.scales=[{channels: 8, layers: 0}, {channels: 8, layers: 0}]"
    fine = load_config(None, [*PILLARS, "point_head.enabled=false"]).bev_grid
    coarse = load_config(None, [*PILLARS, "point_head.enabled=false", scales, "bev.map_stride=4"]).bev_grid
    assert fine.shape == (800, 704)
    assert coarse.shape == (200, 176)
    assert coarse.cell_size == pytest.approx((0.4, 0.4))
    assert coarse.origin == pytest.approx((0.2, -39.8))
    assert load_config(None, ["head=center", "detection.flips=y"]).detection.flips == "y"


def test_points_are_counted_where_f_sees_them() -> None:
    assert load_config("demo", ["refinement.minimum_points=5"]).refinement.minimum_points == 5
    with pytest.raises(InputError, match=r"add points to energy\.features"):
        load_config(None, ["refinement.minimum_points=5"])
    with pytest.raises(InputError, match="velocity: true"):
        load_config("demo", ["energy.points.velocity_input=true"])
