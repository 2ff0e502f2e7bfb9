"""The page itself: all that a run has to show as one HTML text."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from importlib import resources
from typing import Any

import numpy as np
from matplotlib.colors import to_hex

from lidar_ebm.evaluation.curves import Comparison
from lidar_ebm.evaluation.paired_result import PairedComparison, PairedDifference
from lidar_ebm.evaluation.table import metric_name, overlap_text
from lidar_ebm.report.contents import Contents
from lidar_ebm.report.figures_section import figure_cards, figure_table
from lidar_ebm.report.frames import CENTIMETRES
from lidar_ebm.report.pictures import Picture
from lidar_ebm.visualization import palette
from lidar_ebm.visualization.bev_plot import HEIGHT_LIMITS
from lidar_ebm.visualization.curve_plots import headline_difficulty
from lidar_ebm.visualization.scene_geometry import colorings
from lidar_ebm.visualization.views import view_of

# Nothing but what is in the file may be loaded, and nothing sent: browsers hold the page to it.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
HALF = 820  # px: two pictures as wide as this stand side by side
FIELD_OF_VIEW = 40.0  # degrees, of the 3-D view's camera, as the script has it
COLOR_STOPS = 9  # of the heights' colours


def to_html(contents: Contents) -> str:
    """The whole page."""
    sections = [
        ("summary", "Summary", _summary(contents)),
        ("scene", "Frames in 3-D", _scene(contents)),
        ("refinement", "What refinement does", _pictures(contents, "ap", "steps", "curves")),
        ("errors", "Where the errors are", _pictures(contents, "errors")),
        ("improved", "Most improved boxes", _side_by_side(contents.improved)),
        ("worst", "Worst boxes", _side_by_side(contents.worst)),
        ("calibration", "Calibration", _pictures(contents, "calibration")),
        ("chance", "How far chance reaches", _pictures(contents, "paired")),
        ("training", "Training", _pictures(contents, "training")),
        ("settings", "Configuration, environment and timing", _settings(contents)),
    ]
    shown = [section for section in sections if section[2]]
    links = "".join(f'<a href="#{key}">{escape(title)}</a>' for key, title, _ in shown)
    body = "".join(f'<section id="{key}"><h2>{escape(title)}</h2>{text}</section>' for key, title, text in shown)
    title = f"{contents.name}, split {contents.split}"
    view = {"themes": _themes(), "units": CENTIMETRES, "heights": HEIGHT_LIMITS, "above": _pose_above(contents)}
    scripts = "".join(
        f'<script type="application/json" class="frame">{_json(frame.as_dict())}</script>' for frame in contents.frames
    )
    if contents.frames:
        scripts += f'<script type="application/json" id="view">{_json(view)}</script>'
        scripts += f"<script>{_asset('three.min.js')}</script>"
    return (
        '<!doctype html>\n<html lang="en" data-theme="light"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{_variables()}{_asset('page.css')}</style></head>\n<body>"
        f'<header><h1>{escape(title)}</h1><nav>{links}</nav><button id="theme" type="button">Dark</button></header>'
        f"<main>{body}</main>\n{scripts}<script>{_asset('page.js')}</script></body></html>\n"
    )


def _pose_above(contents: Contents) -> dict[str, list[float]]:
    """Eye and target, in m, from which the view's camera sees all of the ground that frames show."""
    points = [frame.points for frame in contents.frames]
    boxes = [each for frame in contents.frames for each in (frame.labels, frame.path[-1])]
    low_x, low_y, high_x, high_y = view_of(
        np.concatenate([np.zeros((0, 2)), *(each[:, :2] for each in points)]), *boxes
    )
    middle, half = [(low_x + high_x) / 2, (low_y + high_y) / 2], max(high_x - low_x, high_y - low_y) / 2
    height = half / math.tan(math.radians(FIELD_OF_VIEW) / 2)
    # A little behind what it looks at: straight down, the picture's up would be undefined.
    return {"eye": [middle[0] - 0.1, middle[1], height], "target": [*middle, 0.0]}


def _summary(contents: Contents) -> str:
    cards = "" if contents.changes is None else figure_cards(contents.changes)
    for comparison in contents.comparisons:
        for metric in dict.fromkeys(change.metric for change in comparison.changes):
            difficulty = headline_difficulty(comparison)
            changes = comparison.select(metric, difficulty)
            before, after = (sum(getattr(c, side) for c in changes) / len(changes) for side in ("before", "after"))
            overlaps = ", ".join(dict.fromkeys(overlap_text(change.iou) for change in changes))
            cards += (
                f'<div class="card"><p>{escape(comparison.class_name)}, {metric_name(metric)}, '
                f"{escape(str(difficulty))}: mean AP {escape(comparison.recall)} at IoU {overlaps}</p>"
                f'<p class="figure">{before:.2f} → {after:.2f} '
                f"<strong>{after - before:+.2f}</strong></p></div>"
            )
    notes = "".join(f"<li>{escape(note)}</li>" for note in contents.missing)
    table = "".join(_table(each, contents.paired) for each in contents.comparisons)
    if contents.changes is not None:
        table += figure_table(contents.changes)
    return f'<div class="cards">{cards}</div>{table}' + (f'<ul class="notes">{notes}</ul>' if notes else "")


def _table(comparison: Comparison, paired: PairedComparison | None) -> str:
    """AP before and after, with the paired interval of the difference."""
    difficulties = list(dict.fromkeys(change.difficulty for change in comparison.changes))
    intervals = {_key(each): each for each in paired.differences if each.recall == comparison.recall} if paired else {}
    head = "".join(f"<th>{escape(name)}</th>" for name in difficulties)
    rows = ""
    for metric in dict.fromkeys(change.metric for change in comparison.changes):
        for iou in dict.fromkeys(change.iou for change in comparison.select(metric)):
            cells = ""
            for change in comparison.select(metric, iou=iou):
                key = (comparison.class_name.lower(), metric, round(iou, 4), change.difficulty)
                interval = intervals.get(key)
                reach = ""
                if interval is not None and math.isfinite(interval.low + interval.high):
                    mark = "clear" if interval.significant else "unsure"
                    reach = f' <span class="{mark}">[{interval.low:+.2f}, {interval.high:+.2f}]</span>'
                cells += (
                    f"<td>{change.before:.2f} → {change.after:.2f}<br><strong>{change.gain:+.2f}</strong>{reach}</td>"
                )
            rows += f"<tr><th>{metric_name(metric)}, IoU {overlap_text(iou)}</th>{cells}</tr>"
    note = ""
    if paired is not None:
        note = (
            f"In brackets the {100 * paired.confidence:g} % interval of the difference over {paired.resamples:,} "
            f"resamples of {paired.frame_count:,} frames, both sets on the same ones; in colour where it excludes 0."
        )
    return (
        f'<div class="wide"><table><caption>{escape(comparison.class_name)} AP {escape(comparison.recall)} (%), '
        f"before → after refinement. {note}</caption><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody>"
        "</table></div>"
    )


def _key(item: PairedDifference) -> tuple[str, str, float, str]:
    return item.class_name.lower(), item.metric, round(item.iou, 4), item.difficulty


def _scene(contents: Contents) -> str:
    if not contents.frames:
        return ""
    options = "".join(f"<option>{escape(frame.name)}</option>" for frame in contents.frames)
    toggles = "".join(
        f'<label><input type="checkbox" id="show-{key}" checked><i class="swatch {key}"></i>{name}</label>'
        for key, name in (
            ("points", "points"),
            ("label", "labels"),
            ("before", "before refinement"),
            ("after", "after refinement"),
        )
    )
    channels = dict.fromkeys(name for frame in contents.frames for name in frame.channels)
    colors = "".join(f'<option value="{escape(key)}">by {escape(key)}</option>' for key in colorings(tuple(channels)))
    return (
        '<div class="bar"><button id="previous" type="button">Previous</button>'
        f'<select id="frame" aria-label="Frame">{options}</select><button id="next" type="button">Next</button>'
        f'{toggles}<label>Points <select id="color">{colors}</select></label>'
        '<label>Minimum score <input id="score" type="range" min="0" max="1" step="0.01" value="0">'
        '<output id="score-text">0.00</output></label></div>'
        '<div id="stage"><canvas id="canvas" aria-label="Points and boxes in space"></canvas><p id="tip" hidden></p>'
        '<p id="no-view" hidden>This browser offers no WebGL, which the 3-D view needs.</p></div>'
        '<div class="bar"><button data-pose="behind" type="button">From behind</button>'
        '<button data-pose="above" type="button">From above</button><button id="play" type="button">Play</button>'
        '<label class="grow">Refinement step <input id="step" type="range" min="0" value="0"></label>'
        '<output id="step-text"></output></div>'
        '<p class="hint">Drag to turn, wheel to come closer, right button to move; touch a box for its figures. The '
        "step moves the boxes after refinement along their path up f.</p>"
    )


def _pictures(contents: Contents, *keys: str) -> str:
    return _side_by_side([each for key in keys for each in contents.pictures.get(key, ())])


def _side_by_side(pictures: Sequence[Picture]) -> str:
    return f'<div class="pictures">{"".join(map(_picture, pictures))}</div>' if pictures else ""


def _picture(picture: Picture) -> str:
    images = "".join(
        f'<img class="{theme}" src="{source}" width="{picture.width}" height="{picture.height}" '
        f'alt="{escape(picture.caption)}" loading="lazy" decoding="async">'
        for theme, source in picture.sources.items()
    )
    kind = ' class="half"' if picture.width <= HALF else ""
    return f"<figure{kind}>{images}<figcaption>{escape(picture.caption)}</figcaption></figure>"


def _settings(contents: Contents) -> str:
    facts = dict(contents.training)
    if contents.about:
        about = contents.about
        facts["evaluation"] = (
            f"{about['frames']:,} frames of {about['split']!r} at T = {', '.join(map(str, about['all_steps']))}, "
            f"{about['seconds']:.0f} s, on {about['date'][:10]}"
        )
        facts["weights (SHA-256)"] = str(about["weights_sha256"])
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>"
        for name, value in (facts | contents.environment).items()
    )
    return (
        f'<div class="wide"><table class="facts"><tbody>{rows}</tbody></table></div>'
        f"<details><summary>Configuration</summary><pre>{escape(contents.config)}</pre></details>"
    )


def _themes() -> dict[str, Any]:
    return {
        name: {
            **_plain(theme),
            "heights": [to_hex(theme.heights(k / (COLOR_STOPS - 1))) for k in range(COLOR_STOPS)],
        }
        for name, theme in palette.THEMES.items()
    }


def _plain(theme: palette.Theme) -> dict[str, str]:
    return {key: value for key, value in asdict(theme).items() if isinstance(value, str)}


def _variables() -> str:
    """The palette as CSS variables of both themes."""
    return "".join(
        f'html[data-theme="{name}"]{{color-scheme:{name};'
        + "".join(f"--{key.replace('_', '-')}:{value};" for key, value in _plain(theme).items() if key != "name")
        + "}"
        for name, theme in palette.THEMES.items()
    )


def _json(value: object) -> str:
    """JSON that may stand in a script element: no `</script>` can begin in it."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _asset(name: str) -> str:
    return (resources.files(__package__) / "assets" / name).read_text(encoding="utf-8")
