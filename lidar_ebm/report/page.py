"""The page itself: all that a run has to show as one HTML text."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from html import escape
from importlib import resources

from lidar_ebm.evaluation.curves import Comparison
from lidar_ebm.evaluation.paired_result import PairedComparison, PairedDifference
from lidar_ebm.evaluation.table import metric_name, overlap_text
from lidar_ebm.report.contents import Contents
from lidar_ebm.report.figures_section import figure_cards, figure_table
from lidar_ebm.report.pictures import Picture
from lidar_ebm.report.scene_section import plain_colors, scene_section, view_settings
from lidar_ebm.visualization import palette
from lidar_ebm.visualization.curve_plots import headline_difficulty

# Nothing but what is in the file may be loaded, and nothing sent: browsers hold the page to it.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
HALF = 820  # px: two pictures as wide as this stand side by side


def to_html(contents: Contents) -> str:
    """The whole page."""
    sections = [
        ("summary", "Summary", _summary(contents)),
        ("scene", "Frames in 3-D", scene_section(contents.frames)),
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
    scripts = "".join(
        f'<script type="application/json" class="frame">{_json(frame.as_dict())}</script>' for frame in contents.frames
    )
    if contents.frames:
        view = _json(view_settings(contents.frames, contents.class_names))
        scripts += f'<script type="application/json" id="view">{view}</script>'
        scripts += f"<script>{_asset('three.min.js')}</script>"
    return (
        '<!doctype html>\n<html lang="en" data-theme="light"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{_variables()}{_asset('page.css')}</style></head>\n<body>"
        f'<header><h1>{escape(title)}</h1><nav>{links}</nav><button id="theme" type="button">Dark</button></header>'
        f"<main>{body}</main>\n{scripts}<script>{_asset('page.js')}</script></body></html>\n"
    )


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


def _variables() -> str:
    """The palette as CSS variables of both themes."""
    return "".join(
        f'html[data-theme="{name}"]{{color-scheme:{name};'
        + "".join(f"--{key.replace('_', '-')}:{value};" for key, value in plain_colors(theme).items() if key != "name")
        + "}"
        for name, theme in palette.THEMES.items()
    )


def _json(value: object) -> str:
    """JSON that may stand in a script element: no `</script>` can begin in it."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _asset(name: str) -> str:
    return (resources.files(__package__) / "assets" / name).read_text(encoding="utf-8")
