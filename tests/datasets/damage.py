"""Ways in which files of a data set get lost, cut short, mixed up or corrupted, each as a function of the data set.

Every function damages what it says of some frame that the generator chooses, and returns the paths, relative to the
data set, one of which a report has to name.
"""

from __future__ import annotations

import re
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

Damage = Callable[[Path, np.random.Generator], list[str]]


def write_png(path: Path, width: int, height: int) -> None:
    """A black grey-scale image."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes((width + 1) * height))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))


def _choose(root: Path, folder: str, rng: np.random.Generator, count: int = 1) -> list[Path]:
    """Files of frames with labelled objects near the front, so that there is something to damage."""
    labelled = [
        path.stem
        for path in sorted((root / "training" / "label_2").glob("*.txt"))
        if re.search(r"^Car \S+ 0 ", path.read_text(), flags=re.MULTILINE)
    ]
    chosen = rng.choice(labelled, count, replace=False)
    suffix = {"velodyne": "bin", "image_2": "png"}.get(folder, "txt")
    return [root / "training" / folder / f"{name}.{suffix}" for name in chosen]


def _bytes(folder: str, change: Callable[[bytes, np.random.Generator], bytes]) -> Damage:
    def damage(root: Path, rng: np.random.Generator) -> list[str]:
        (path,) = _choose(root, folder, rng)
        path.write_bytes(change(path.read_bytes(), rng))
        return [path.relative_to(root).as_posix()]

    return damage


def _points(change: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Damage:
    def on_bytes(content: bytes, rng: np.random.Generator) -> bytes:
        points = np.frombuffer(content, "<f4").reshape(-1, 4).copy()
        return np.ascontiguousarray(change(points, rng)).tobytes()

    return _bytes("velodyne", on_bytes)


def _set(rows: slice, columns: slice | int, value: float) -> Damage:
    def change(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        points[rows, columns] = value
        return points

    return _points(change)


def _text(folder: str, change: Callable[[str], str]) -> Damage:
    return _bytes(folder, lambda content, rng: change(content.decode()).encode())


def _field(number: int, value: str) -> Damage:
    """Another value in a field of the first car's line."""

    def change(text: str) -> str:
        lines = text.splitlines()
        row = next(index for index, line in enumerate(lines) if line.startswith("Car"))
        fields = lines[row].split()
        fields[number : number + 1] = [value] if value else []
        lines[row] = " ".join(fields)
        return "\n".join(lines) + "\n"

    return _text("label_2", change)


def _matrix(key: str, change: Callable[[list[str]], list[str]]) -> Damage:
    """Another content of a calibration's matrix."""

    def of_text(text: str) -> str:
        lines = text.splitlines()
        row = next(index for index, line in enumerate(lines) if line.startswith(key))
        lines[row] = f"{key}: " + " ".join(change(lines[row].split()[1:]))
        return "\n".join(lines) + "\n"

    return _text("calib", of_text)


def _entry(key: str, index: int, value: str) -> Damage:
    return _matrix(key, lambda values: [*values[:index], value, *values[index + 1 :]])


def _removed(folder: str) -> Damage:
    def damage(root: Path, rng: np.random.Generator) -> list[str]:
        (path,) = _choose(root, folder, rng)
        path.unlink()
        return [path.relative_to(root).as_posix()]

    return damage


def _folder_instead(folder: str) -> Damage:
    def damage(root: Path, rng: np.random.Generator) -> list[str]:
        (path,) = _choose(root, folder, rng)
        path.unlink()
        path.mkdir()
        return [path.relative_to(root).as_posix()]

    return damage


def _link(folder: str, target: str) -> Damage:
    def damage(root: Path, rng: np.random.Generator) -> list[str]:
        (path,) = _choose(root, folder, rng)
        path.unlink()
        path.symlink_to(target)
        return [path.relative_to(root).as_posix()]

    return damage


def _renamed(folder: str, pattern: str) -> Damage:
    def damage(root: Path, rng: np.random.Generator) -> list[str]:
        (path,) = _choose(root, folder, rng)
        path.rename(path.with_name(pattern.format(path.stem)))
        return [path.relative_to(root).as_posix()]

    return damage


def _swapped(folder: str) -> Damage:
    """Two frames' files are each other's."""

    def damage(root: Path, rng: np.random.Generator) -> list[str]:
        first, second = _choose(root, folder, rng, 2)
        contents = first.read_bytes(), second.read_bytes()
        second.write_bytes(contents[0])
        first.write_bytes(contents[1])
        return [f"training/label_2/{path.stem}.txt" for path in (first, second)]

    return damage


def _copied(folder: str, source: str, named: str = "") -> Damage:
    """A file's content is that of a file of another frame, or of another folder."""

    def damage(root: Path, rng: np.random.Generator) -> list[str]:
        first, second = _choose(root, folder, rng, 2)
        suffix = {"velodyne": ".bin", "image_2": ".png"}.get(source, ".txt")
        content = (root / "training" / source / second.name).with_suffix(suffix).read_bytes()
        first.write_bytes(content[: len(content) // 16 * 16] if folder == "velodyne" else content)
        places = [path.relative_to(root).as_posix() for path in (first, second)]
        return places if source == folder else places[:1]

    return damage


def _split(split: str, change: Callable[[str], str] | None, *, encoding: str = "utf-8") -> Damage:
    def damage(root: Path, rng: np.random.Generator) -> list[str]:
        path = root / "ImageSets" / f"{split}.txt"
        if change is None:
            path.unlink()
        else:
            path.write_text(change(path.read_text()), encoding=encoding)
        return [f"ImageSets/{split}.txt"]

    return damage


def _whole_folder(folder: str) -> Damage:
    def damage(root: Path, rng: np.random.Generator) -> list[str]:
        shutil.rmtree(root / folder)
        return [folder]

    return damage


def _file_for_folder(folder: str) -> Damage:
    def damage(root: Path, rng: np.random.Generator) -> list[str]:
        shutil.rmtree(root / folder)
        (root / folder).write_text("not a folder\n")
        return [folder]

    return damage


def _named_but_missing(root: Path, rng: np.random.Generator) -> list[str]:
    with (root / "ImageSets" / "train.txt").open("a") as file:
        file.write("123456\n")
    return ["training/velodyne/123456.bin"]


def _split_folder(root: Path, rng: np.random.Generator) -> list[str]:
    (root / "ImageSets" / "train.txt").unlink()
    (root / "ImageSets" / "train.txt").mkdir()
    return ["ImageSets/train.txt"]


def _noise(content: bytes, rng: np.random.Generator) -> bytes:
    return rng.bytes(len(content))


def _flip_bit(start: int, end: int | None = None) -> Callable[[bytes, np.random.Generator], bytes]:
    """One bit changed somewhere in bytes start … end."""

    def change(content: bytes, rng: np.random.Generator) -> bytes:
        at = int(rng.integers(start, len(content) if end is None else end))
        return content[:at] + bytes([content[at] ^ 1 << int(rng.integers(8))]) + content[at + 1 :]

    return change


def _shuffle(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return points[:, [1, 2, 0, 3]]


def _zero_tail(content: bytes, rng: np.random.Generator) -> bytes:
    kept = len(content) // 2
    return content[:kept] + bytes(len(content) - kept)


def _scaled(points: np.ndarray, scales: tuple[float, ...]) -> np.ndarray:
    return points * np.array(scales, np.float32)


DAMAGES: dict[str, Damage] = {
    "velodyne removed": _removed("velodyne"),
    "velodyne emptied": _bytes("velodyne", lambda content, rng: b""),
    "velodyne cut within a point": _bytes("velodyne", lambda c, rng: c[: 16 * int(rng.integers(9000)) + 7]),
    "velodyne cut after a tenth": _bytes("velodyne", lambda c, rng: c[: len(c) // 160 * 16]),
    "velodyne one byte more": _bytes("velodyne", lambda content, rng: content + b"\0"),
    "velodyne noise": _bytes("velodyne", _noise),
    "velodyne half zeros": _bytes("velodyne", _zero_tail),
    "velodyne text": _bytes("velodyne", lambda content, rng: b"<html>404 Not Found</html>\n"),
    "velodyne compressed": _bytes("velodyne", lambda content, rng: zlib.compress(content)[: 16 * 1000 + 3]),
    "velodyne big-endian": _points(lambda points, rng: points.astype(">f4")),
    "velodyne doubles": _points(lambda points, rng: points.astype("<f8")),
    "velodyne some NaN": _set(slice(100, 120), slice(None), np.nan),
    "velodyne some infinite": _set(slice(100, 120), 0, np.inf),
    "velodyne all NaN": _set(slice(None), 1, np.nan),
    "velodyne huge": _set(slice(5, 6), 2, 3e38),
    "velodyne millimetres": _points(lambda points, rng: _scaled(points, (1e3, 1e3, 1e3, 1))),
    "velodyne reflectance to 255": _points(lambda points, rng: _scaled(points, (1, 1, 1, 255))),
    "velodyne backwards": _points(lambda points, rng: _scaled(points, (-1, -1, 1, 1))),
    "velodyne axes in another order": _points(_shuffle),
    "velodyne without reflectance": _points(lambda points, rng: points[: len(points) // 4 * 4, :3]),
    "velodyne of another frame": _copied("velodyne", "velodyne"),
    "velodyne is an image": _copied("velodyne", "image_2"),
    "velodyne a folder": _folder_instead("velodyne"),
    "velodyne a link to nothing": _link("velodyne", "nowhere.bin"),
    "velodyne a device": _link("velodyne", "/dev/zero"),
    "velodyne renamed": _renamed("velodyne", "{}.BIN"),
    "velodyne partial download": _renamed("velodyne", "{}.bin.part"),
    "calib removed": _removed("calib"),
    "calib emptied": _bytes("calib", lambda content, rng: b""),
    "calib cut short": _bytes("calib", lambda content, rng: content[: int(rng.integers(len(content) * 3 // 4))]),
    "calib noise": _bytes("calib", _noise),
    "calib zeros": _bytes("calib", lambda content, rng: bytes(len(content))),
    "calib without P2": _text("calib", lambda text: text.replace("P2:", "Q2:")),
    "calib without Tr_velo_to_cam": _text("calib", lambda text: text.replace("Tr_velo_to_cam", "Tr_velo_to_camera")),
    "calib no number": _entry("R0_rect", 4, "x.1"),
    "calib NaN": _entry("P2", 0, "nan"),
    "calib decimal comma": _entry("P2", 3, "44,85"),
    "calib value lost": _matrix("Tr_velo_to_cam", lambda values: values[:-1]),
    "calib singular": _matrix("R0_rect", lambda values: ["0"] * 9),
    "calib no rotation": _entry("R0_rect", 1, "0.2"),
    "calib mirrored": _matrix("Tr_velo_to_cam", lambda values: [*values[:8], "-1.0", *values[9:]]),
    "calib camera looks up": _matrix("R0_rect", lambda values: ["1", "0", "0", "0", "0", "-1", "0", "1", "0"]),
    "calib millimetres": _entry("Tr_velo_to_cam", 11, "-270.0"),
    "calib other camera": _entry("P2", 2, "1300.0"),
    "calib negative focal length": _entry("P2", 0, "-721.5"),
    "calib is a label file": _copied("calib", "label_2"),
    "calib a folder": _folder_instead("calib"),
    "calib renamed": _renamed("calib", "{}.txt.txt"),
    "label removed": _removed("label_2"),
    "label cut within a line": _text("label_2", lambda text: text[: text.index("Car ") + 30]),
    "label cut in the last number": _text("label_2", lambda text: text.rstrip()[:-1]),
    "label noise": _bytes("label_2", _noise),
    "label zeros": _bytes("label_2", lambda content, rng: bytes(len(content))),
    "label UTF-16 without a mark": _bytes("label_2", lambda content, rng: content.decode().encode("utf-16-le")),
    "label without a class": _field(0, "0.95"),
    "label field lost": _field(9, ""),
    "label fields too many": _field(14, "1.0 0.9 7 8"),
    "label a result": _field(14, "1.0 0.9"),
    "label no number": _field(11, "here"),
    "label NaN": _field(8, "nan"),
    "label decimal comma": _field(8, "1,52"),
    "label occlusion a fraction": _field(2, "0.5"),
    "label occlusion unknown to KITTI": _field(2, "7"),
    "label truncation in percent": _field(1, "80"),
    "label overflow": _field(13, "1e300"),
    "label size overflow": _field(10, "1e300"),
    "label angle overflow": _field(14, "1e300"),
    "label far away": _field(13, "5000"),
    "label in millimetres": _field(10, "3900"),
    "label negative size": _field(8, "-1.5"),
    "label in degrees": _field(14, "90.0"),
    "label 2-D box turned round": _field(4, "1200.5"),
    "label moved": _field(11, "60.0"),
    "label repeated": _text("label_2", lambda text: text + text),
    "label is a calib file": _copied("label_2", "calib"),
    "label a folder": _folder_instead("label_2"),
    "label renamed": _renamed("label_2", "{} (1).txt"),
    "labels swapped": _swapped("label_2"),
    "velodyne swapped": _swapped("velodyne"),
    "image removed": _removed("image_2"),
    "image emptied": _bytes("image_2", lambda content, rng: b""),
    "image cut in its header": _bytes("image_2", lambda content, rng: content[:20]),
    "image cut after its header": _bytes("image_2", lambda content, rng: content[:30]),
    "image cut short": _bytes("image_2", lambda content, rng: content[:-20]),
    "image size flipped": _bytes("image_2", _flip_bit(16, 24)),
    "image of no size": _bytes("image_2", lambda content, rng: content[:16] + bytes(8) + content[24:]),
    "image no PNG": _bytes("image_2", lambda content, rng: b"\xff\xd8\xff\xe0" + content[4:]),
    "image a folder": _folder_instead("image_2"),
    "train split removed": _split("train", None),
    "train split emptied": _split("train", lambda text: ""),
    "train split names a frame twice": _split("train", lambda text: text + text.splitlines()[0] + "\n"),
    "train split on one line": _split("train", lambda text: text.replace("\n", " ")),
    "train split with suffixes and folders": _split("train", lambda text: text.replace("0000", "training/0000")),
    "train split zeros": _split("train", lambda text: "\0" * len(text)),
    "train split names what is not there": _named_but_missing,
    "train split a folder": _split_folder,
    "val split removed": _split("val", None),
    "val split has training frames": _split("val", lambda text: text + "000000\n"),
    "splits removed": _whole_folder("ImageSets"),
    "splits a file": _file_for_folder("ImageSets"),
    "all velodyne removed": _whole_folder("training/velodyne"),
    "all labels removed": _whole_folder("training/label_2"),
    "all calib removed": _whole_folder("training/calib"),
    "calib folder a file": _file_for_folder("training/calib"),
    "all removed": _whole_folder("training"),
}

# Changes that leave a data set which nobody can tell from one that was meant so. Each returns what it changed.
HARMLESS: dict[str, Damage] = {
    "a calibration in UTF-16, as PowerShell writes it": _bytes(
        "calib", lambda content, rng: content.decode().encode("utf-16")
    ),
    "labels in UTF-16": _bytes("label_2", lambda content, rng: content.decode().encode("utf-16")),
    "a split in UTF-16": _split("val", lambda text: text, encoding="utf-16"),
    "the keys of KITTI's tracking benchmark": _text(
        "calib", lambda text: text.replace("Tr_velo_to_cam:", "Tr_velo_cam").replace("R0_rect:", "R_rect")
    ),
    "a class of one's own": _field(0, "Spaceship"),
    "a label file emptied: a frame without objects": _text("label_2", lambda text: ""),
    "a label file cut between lines: fewer objects": _text("label_2", lambda text: text.split("\n")[0] + "\n"),
    "a point cloud cut by a tenth between points": _bytes("velodyne", lambda c, rng: c[: len(c) // 160 * 16 * 9]),
    "one point's reflectance moved within its range": _set(slice(7, 8), 3, 0.5),
    "points in another order": _points(lambda points, rng: rng.permutation(points)),
    "Windows line ends": _text("label_2", lambda text: text.replace("\n", "\r\n")),
    "a byte-order mark": _text("calib", lambda text: "\ufeff" + text),
    "classes in lower case": _text("label_2", str.lower),
    "blank lines": _text("label_2", lambda text: "\n" + text.replace("\n", "\n\n")),
    "calibration lines that are not used": _text("calib", lambda text: text.replace("P3:", "P9:")),
    "a calibration's last digit": _entry("P2", 2, "609.56"),
    "no images at all": _whole_folder("training/image_2"),
    "pixels": _bytes("image_2", _flip_bit(50, 60)),
}
