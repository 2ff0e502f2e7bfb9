"""nuScenes' official splits, as scene names, and a database's own ones.

A sample belongs to the split of its scene's name. The official lists stand in the benchmark's program, not in the data;
here they stand as ranges of the scenes' numbers. Any other name is looked up in `splits.json` beside the tables.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from lidar_ebm.errors import InputError
from lidar_ebm.formats.fields import read_json

_RANGES = {
    "train": (
        "1-2 4-11 19-34 41-76 120-135 138-139 149-152 154-155 157-168 170-185 187-188 190-196 199-200 202-204 "
        "206-214 218-220 222 224-264 283-306 315-318 321 323-324 328 347-386 388-403 405-408 410-459 461-465 "
        "467-469 471-472 474-480 499-502 504-515 517-518 525-539 541-546 566 568 570-578 580 582-600 639-679 681 "
        "683-689 695-698 700-701 703-719 726-728 730-731 733-741 744 746-747 749-752 757-765 767-769 786-787 "
        "789-792 803-806 808-813 815-817 819-822 847-856 858 860-866 868-873 875-878 880 882-903 945 947 949 "
        "952-953 955-961 975-984 988-992 994-1025 1044-1058 1074-1102 1104-1110"
    ),
    "val": (
        "3 12-18 35-36 38-39 92-110 221 268-278 329-332 344-346 519-524 552-565 625-627 629-630 632-638 770-771 "
        "775 777-778 780-784 794-800 802 904-917 919-931 962-963 966-969 971-972 1059-1073"
    ),
    "test": (
        "77-91 111-119 140 142-148 265-266 279-282 307-314 333-343 481-498 547-551 601-604 606-624 827-831 833-842 "
        "844-846 932-933 935-943 1026-1043"
    ),
    "mini_train": "61 553 655 757 796 1077 1094 1100",
    "mini_val": "103 916",
    "train_detect": (
        "1-2 41-76 161-168 170-176 190-196 199-200 202-204 206-214 254-264 283-306 315-318 321 323-324 347-375 382 "
        "420-439 457-459 461-465 467-469 471-472 474-480 566 568 570-578 580 582-583 665-679 681 683-689 739-741 "
        "744 746-747 749-752 757-765 767-769 868-873 875-878 880 882-903 945 947 949 952-953 955-961 975-984 "
        "988-991 1011-1025 1074-1102 1104-1105"
    ),
    "train_track": (
        "4-11 19-34 120-135 138-139 149-152 154-155 157-160 177-185 187-188 218-220 222 224-253 328 376-381 "
        "383-386 388-403 405-408 410-419 440-456 499-502 504-515 517-518 525-539 541-546 584-600 639-664 695-698 "
        "700-701 703-719 726-728 730-731 733-738 786-787 789-792 803-806 808-813 815-817 819-822 847-856 858 "
        "860-866 992 994-1010 1044-1058 1106-1110"
    ),
}

# Splits halve the trainval version; a split belongs to the versions that end in this word.
_VERSION_OF = {
    "train": "trainval",
    "val": "trainval",
    "train_detect": "trainval",
    "train_track": "trainval",
    "mini_train": "mini",
    "mini_val": "mini",
    "test": "test",
}
OFFICIAL_SPLITS = tuple(_RANGES)
SPLITS_FILE = "splits.json"


@cache
def official_scenes(split: str) -> frozenset[str]:
    """Names of all scenes of an official split."""
    names = []
    for part in _RANGES[split].split():
        first, _, last = part.partition("-")
        names += [f"scene-{number:04d}" for number in range(int(first), int(last or first) + 1)]
    return frozenset(names)


def split_scenes(folder: Path, version: str, split: str) -> frozenset[str]:
    """Names of the scenes of a split; the database need not have them all.

    Args:
        folder: of the tables, ROOT/VERSION, in which `splits.json` may stand.
        version: of the tables: "v1.0-trainval".
        split: an official name, or one of `splits.json`.

    Raises:
        InputError: there is no split of this name, it belongs to another version, or `splits.json` is damaged.
    """
    if split in _VERSION_OF:
        if not version.endswith(_VERSION_OF[split]):
            raise InputError(
                f"{folder}: split {split!r} belongs to a version that ends in {_VERSION_OF[split]!r}, and this is "
                f"{version!r}. Choose {_choices(official_splits_of(version))}, or the other version."
            )
        return official_scenes(split)
    own = own_splits(folder)
    if split not in own:
        raise InputError(
            f"{folder}: there is no split {split!r}. Choose {_choices((*official_splits_of(version), *own))}, or add "
            f"it to {SPLITS_FILE} there: {{name: [scene name, …]}}."
        )
    return own[split]


def official_splits_of(version: str) -> tuple[str, ...]:
    """Names of the official splits that a version of the tables has."""
    return tuple(split for split, ending in _VERSION_OF.items() if version.endswith(ending))


def is_own_split(split: str) -> bool:
    """Tell if a split's scenes stand in the database's `splits.json`, not in the benchmark's program."""
    return split not in _VERSION_OF


def own_splits(folder: Path) -> dict[str, frozenset[str]]:
    """The splits of `splits.json` by name; none without the file.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / SPLITS_FILE
    if not path.exists():
        return {}
    return {
        name: frozenset(scene.text() for scene in scenes.elements())
        for name, scenes in read_json(path).entries().items()
    }


def _choices(names: tuple[str, ...]) -> str:
    return f"one of {', '.join(names)}" if names else "a split of your own"
