"""Damage of every kind: `prepare` names all of it in one report, and reading refuses what cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.datasets.nuscenes import NuScenesSource
from lidar_ebm.datasets.opening import open_data_set
from lidar_ebm.datasets.preparation.prepare import prepare
from lidar_ebm.datasets.preparation.report import PrepareReport, report_text
from lidar_ebm.errors import InputError
from tests.datasets.nuscenes.tiny import TinyDatabase, make_database

Damage = Callable[[TinyDatabase], None]


def report_of(root: Path, made: TinyDatabase) -> PrepareReport:
    made.write(root)
    return prepare(open_data_set(root), workers=1)


def said(report: PrepareReport, kind: str) -> str:
    """Places and messages of all findings of a kind."""
    found = [str(finding) for finding in report.findings if finding.kind == kind]
    assert found, report_text(report)
    return "\n".join(found)


def change(table: str, token: str, /, **values: object) -> Damage:
    def damage(made: TinyDatabase) -> None:
        made.record(table, token).update(values)

    return damage


def drop(table: str, token: str) -> Damage:
    def damage(made: TinyDatabase) -> None:
        made.tables[table].remove(made.record(table, token))

    return damage


def test_nothing_is_wrong_with_a_whole_database(tmp_path: Path) -> None:
    assert report_of(tmp_path, make_database()).findings == ()


# Faults of tables without which nothing can be read: what the finding says, beside its table.
CAR = "scene-0061-instance0"
FATAL = [
    (change("sample_annotation", f"{CAR}-1", instance_token="x"), "sample_annotation", "instance_token"),
    (change("sample_annotation", f"{CAR}-1", sample_token="x"), "sample_annotation", "sample_token"),
    (change("sample_annotation", f"{CAR}-1", attribute_tokens=["x"]), "sample_annotation", "attribute"),
    (drop("instance", "scene-0061-instance0"), "sample_annotation", "instance_token: record 0: 'scene-0061-instance0'"),
    (change("sample", "scene-0061-sample1", scene_token="x"), "sample", "scene_token"),
    (change("instance", "scene-0061-instance0", category_token="x"), "instance", "category_token"),
    (change("sample_data", "scene-0061-file3", ego_pose_token="x"), "sample_data", "ego_pose_token"),
    (drop("ego_pose", "scene-0061-file3-pose"), "sample_data", "ego_pose_token"),
    (change("category", "c0", name="vehicle.tank"), "category", "vehicle.tank"),
    (change("sample_annotation", f"{CAR}-1", token=f"{CAR}-0"), "sample_annotation", "token"),
    (change("sample_annotation", f"{CAR}-1", size=[1, 2]), "sample_annotation", "size"),
    (change("sample_annotation", f"{CAR}-1", translation=[1, "2", 3]), "sample_annotation", "translation"),
]


@pytest.mark.filterwarnings("ignore:.*are not prepared")
@pytest.mark.parametrize(("damage", "table", "text"), FATAL)
def test_tables_that_do_not_fit_together_are_named(tmp_path: Path, damage: Damage, table: str, text: str) -> None:
    made = make_database()
    damage(made)
    report = report_of(tmp_path, made)
    assert report.errors
    assert any(finding.place == f"v1.0-mini/{table}.json" and text in finding.message for finding in report.errors)
    assert (report.made, report.failed) == (0, 0)
    with pytest.raises(InputError, match=table):
        NuScenesSource(tmp_path, "v1.0-mini", "train")[0]


def test_all_faults_are_in_one_report(tmp_path: Path) -> None:
    made = make_database()
    for damage, _, _ in FATAL[:9]:
        if damage is not FATAL[3][0]:
            damage(made)
    report = report_of(tmp_path, made)
    places = {finding.place for finding in report.errors}
    tables = ("sample_annotation", "sample", "instance", "sample_data", "category")
    assert places >= {f"v1.0-mini/{table}.json" for table in tables}
    assert said(report, "tokens that lead nowhere").count("\n") >= 4


@pytest.mark.parametrize("table", ["ego_pose", "sensor", "category", "sample_annotation", "attribute", "instance"])
def test_a_missing_table_is_named(tmp_path: Path, table: str) -> None:
    make_database().write(tmp_path, without=[table])
    if table in ("ego_pose", "sensor"):
        with pytest.raises(InputError, match=table):
            open_data_set(tmp_path)
    else:
        report = prepare(open_data_set(tmp_path), workers=1)
        assert f"{table}.json" in said(report, "unreadable tables")


@pytest.mark.parametrize("name", ["sample", "sample_data", "sample_annotation", "ego_pose", "scene", "category"])
def test_a_table_that_is_cut_short_is_named(tmp_path: Path, name: str) -> None:
    make_database().write(tmp_path)
    path = tmp_path / "v1.0-mini" / f"{name}.json"
    path.write_bytes(path.read_bytes()[:-300])
    report = prepare(open_data_set(tmp_path), workers=1)
    assert f"v1.0-mini/{name}.json" in said(report, "unreadable tables")


def chain_nowhere(made: TinyDatabase) -> None:
    made.record("sample_data", "scene-0061-file15")["prev"] = "x"


def chain_in_a_circle(made: TinyDatabase) -> None:
    made.record("sample_data", "scene-0061-file15")["prev"] = "scene-0061-file17"


def chain_to_itself(made: TinyDatabase) -> None:
    made.record("sample_data", "scene-0061-file15")["prev"] = "scene-0061-file15"


def chain_into_another_scene(made: TinyDatabase) -> None:
    made.record("sample_data", "scene-0103-file15")["prev"] = "scene-0061-file14"


@pytest.mark.filterwarnings("ignore:.*are not prepared")
@pytest.mark.parametrize(
    ("damage", "text", "wrong"),
    [
        (chain_nowhere, "leads nowhere", "scene-0061-sample2"),
        (chain_in_a_circle, "not before it", "scene-0061-sample2"),
        (chain_to_itself, "not before it", "scene-0061-sample2"),
        (chain_into_another_scene, "another scene", "scene-0103-sample2"),
    ],
)
def test_a_broken_chain_costs_its_own_frames_alone(tmp_path: Path, damage: Damage, text: str, wrong: str) -> None:
    made = make_database()
    damage(made)
    report = report_of(tmp_path, made)
    messages = said(report, "broken token chains")
    assert text in messages
    assert wrong in messages
    assert (report.made, report.failed) == (5, 1)
    split = "train" if "0061" in wrong else "val"
    with pytest.raises(InputError, match=f"(?s)1 of the 3 samples of {split} cannot be used.*{text}"):
        NuScenesSource(tmp_path, "v1.0-mini", split)
    with pytest.raises(InputError, match=text):
        open_data_set(tmp_path).read(wrong)
    # With so few sweeps that the break is never come to, all is well.
    assert len(NuScenesSource(tmp_path, "v1.0-mini", split, sweeps=5)[2].points)


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (change("sample", "scene-0061-sample1", next="x"), "next leads nowhere"),
        (change("sample", "scene-0061-sample2", prev="scene-0103-sample1"), "prev leads to another scene"),
        (change("sample", "scene-0061-sample1", next="scene-0061-sample0"), "next leads to a record that is not after"),
        (change("sample_data", "scene-0061-file5", next="scene-0061-file9"), "next leads to a record whose prev"),
        (
            change("sample_annotation", f"{CAR}-1", next="scene-0061-instance1-2"),
            "next leads to another instance",
        ),
        (change("scene", "scene-0061-token", first_sample_token="x"), "first_sample_token"),
    ],
)
def test_links_that_no_frame_needs_are_checked_too(tmp_path: Path, damage: Damage, text: str) -> None:
    made = make_database()
    damage(made)
    report = report_of(tmp_path, made)
    assert text in report_text(report)
    assert report.errors


def test_a_sample_without_a_key_sweep_is_named(tmp_path: Path) -> None:
    made = make_database()
    made.record("sample_data", "scene-0061-file10")["is_key_frame"] = False
    report = report_of(tmp_path, made)
    assert "sample 'scene-0061-sample1' has no keyframe of LIDAR_TOP" in said(report, "broken token chains")
    assert report.failed == 1
    assert "scene-0061-sample1" not in open_data_set(tmp_path).all_names()


@pytest.mark.parametrize("name", ["samples/LIDAR_TOP/scene-0061-file10", "sweeps/LIDAR_TOP/scene-0061-file7"])
def test_a_missing_sweep_is_named(tmp_path: Path, name: str) -> None:
    make_database().write(tmp_path)
    (tmp_path / f"{name}.pcd.bin").unlink()
    report = prepare(open_data_set(tmp_path), workers=1)
    assert name in said(report, "missing files")
    with pytest.raises(InputError, match=Path(name).name):
        NuScenesSource(tmp_path, "v1.0-mini", "train")


@pytest.mark.parametrize("name", ["samples/LIDAR_TOP/scene-0061-file20", "sweeps/LIDAR_TOP/scene-0061-file17"])
@pytest.mark.parametrize("damage", ["cut", "nan"])
def test_a_damaged_sweep_is_named(tmp_path: Path, name: str, damage: str) -> None:
    make_database().write(tmp_path)
    path = tmp_path / f"{name}.pcd.bin"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-7])
    else:
        points = np.fromfile(path, "<f4")
        points[12] = np.nan
        points.tofile(path)
    report = prepare(open_data_set(tmp_path), workers=1)
    assert name in said(report, "unreadable sweeps")
    assert (report.made, report.failed) == (5, 1)
    with pytest.raises(InputError, match=path.name):
        open_data_set(tmp_path).read("scene-0061-sample2")
    with pytest.raises(InputError, match=path.name):  # by the report, before anything is read
        NuScenesSource(tmp_path, "v1.0-mini", "train")


def test_what_is_odd_is_said_and_used(tmp_path: Path) -> None:
    made = make_database()
    made.record("sample_annotation", f"{CAR}-0")["attribute_tokens"] = ["a6", "a7"]
    made.record("sample_annotation", f"{CAR}-1")["num_lidar_pts"] = 7
    made.record("sample_annotation", "scene-0103-instance1-0")["attribute_tokens"] = ["a5"]
    made.record("sample_annotation", "scene-0103-instance1-1")["size"] = [0.01, 1, 1]
    made.record("attribute", "a3")["name"] = "cycle.flying"
    made.files["samples/LIDAR_TOP/scene-0061-file20.pcd.bin"][:3, 3] = 300
    report = report_of(tmp_path, made)
    assert report.errors == ()
    assert report.made == 6
    assert "2 (the first counts)" in said(report, "labels with several attributes")
    assert "car 7 told, 30 there" in said(report, "numbers of points")
    assert "a pedestrian with the attribute 'vehicle.moving'" in said(report, "attributes of other classes")
    assert "a pedestrian of 1, 0.01, 1 m" in said(report, "boxes out of range")
    assert "cycle.flying" in said(report, "unknown attributes")
    assert "3 intensities lie outside 0 to 255" in said(report, "odd sweeps")


def test_damaged_splits_are_named(tmp_path: Path) -> None:
    make_database().write(tmp_path)
    (tmp_path / "v1.0-mini" / "splits.json").write_text('{"mine": [1]}')
    assert "splits.json" in report_text(prepare(open_data_set(tmp_path), workers=1))
