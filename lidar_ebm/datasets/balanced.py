"""Class-balanced resampling of frames (CBGS, Zhu et al. 2019): frames with objects of rare classes come several times.

A frame in which a class is seen is a frame of that class. Each class gets an equal share of the draws, which are taken
from its frames: many times from the few frames of a rare class, once in a while from the many of a frequent one. The
list that comes of it is used in place of the split's own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np

from lidar_ebm.datasets.samples import Samples
from lidar_ebm.errors import InputError


def balanced_order(classes_of_frames: Sequence[Collection[int]], class_count: int, seed: int = 0) -> list[int]:
    """Indices of frames, some of them several times, in rising order.

    Let n_c be the number of frames with class c, and n their sum over the C classes that are seen. Each of these is
    given n / C draws, rounded. Its frames are taken as often as they go into that in whole, all alike, and the rest is
    drawn among them at random, none twice. So a class's own draws are as many as any other's, as in the original, where
    all are drawn at random; frames of a class differ by one at most. A frame with no object of these classes is not in
    the list.

    Args:
        classes_of_frames: of each frame the indices of the classes that are seen in it.
        class_count: number of classes; indices are below it.
        seed: the only source of chance.
    """
    frames: list[list[int]] = [[] for _ in range(class_count)]
    for frame, classes in enumerate(classes_of_frames):
        for index in set(classes):
            frames[index].append(frame)
    seen = [np.array(each, np.int64) for each in frames if each]
    if not seen:
        return []
    rng = np.random.default_rng((seed, class_count, len(classes_of_frames)))
    draws = round(sum(map(len, seen)) / len(seen))
    order = []
    for each in seen:
        whole, rest = divmod(draws, len(each))
        order += [np.repeat(each, whole), rng.choice(each, rest, replace=False)]
    return [int(frame) for frame in np.sort(np.concatenate(order))]


def balanced_frames(samples: Samples, seed: int = 0) -> list[int]:
    """`balanced_order` of a split by the labels of its frames that are learnt from.

    Raises:
        InputError: no frame has a label of a configured class, or a label file cannot be read.
    """
    class_index = samples.class_index
    classes = []
    for frame in range(len(samples)):
        boxes = samples.labelled_boxes(frame)
        names = boxes.names[samples.content.is_seen(boxes)].tolist()
        classes.append({class_index[name.lower()] for name in names if name.lower() in class_index})
    order = balanced_order(classes, max(class_index.values()) + 1, seed)
    if not order:
        raise InputError(
            f"{samples.split_path}: no frame has a label of a configured class to be balanced. Check `classes`, or "
            "train without training.class_balanced."
        )
    return order


def class_shares(order: Iterable[int], classes_of_frames: Sequence[Collection[int]], class_count: int) -> list[float]:
    """Share of the listed frames in which each class is seen; 0 of an empty list."""
    counts, total = np.zeros(class_count), 0
    for frame in order:
        counts[list(set(classes_of_frames[frame]))] += 1
        total += 1
    return [float(count) / max(total, 1) for count in counts]
