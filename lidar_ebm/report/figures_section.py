"""Summary of protocols that are told in named figures: cards of the headline, and a table with intervals."""

from __future__ import annotations

import math
from html import escape

from lidar_ebm.evaluation.figure_tables import interval_text, select_summaries, value_text
from lidar_ebm.evaluation.figures import FigureComparison, FigureDifference

CARDS = 2  # figures that stand for all: the first of the protocol's own


def figure_cards(changes: FigureComparison) -> str:
    """The headline before and after refinement."""
    return "".join(_card(item) for item in changes.changes[:CARDS])


def figure_table(changes: FigureComparison) -> str:
    """Summaries, and a figure of each class, before and after refinement, with the paired intervals."""
    rows = "".join(_row(item) for item in select_summaries(changes))
    level = f"{100 * changes.confidence:g} %"
    note = (
        f"In brackets the {level} interval of the change over {changes.resamples:,} draws of {changes.drawn} of "
        f"{changes.frame_count:,} frames; in colour where it excludes 0. Errors are the better the lower they are."
    )
    return (
        f'<div class="wide"><table><caption>Before → after refinement. {note}</caption><thead><tr><th></th>'
        f"<th>before → after</th><th>change</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _card(item: FigureDifference) -> str:
    figure = item.figure
    return (
        f'<div class="card"><p>{escape(figure.name)} ({escape(figure.unit)})</p><p class="figure">'
        f"{value_text(item.a, figure.unit)} → {value_text(item.b, figure.unit)} "
        f"<strong>{value_text(item.difference, figure.unit, '+')}</strong></p></div>"
    )


def _row(item: FigureDifference) -> str:
    figure = item.figure
    reach = ""
    if math.isfinite(item.low + item.high):
        reach = f' <span class="{"clear" if item.significant else "unsure"}">[{interval_text(item)}]</span>'
    return (
        f"<tr><th>{escape(figure.class_name)}, {escape(figure.name)} ({escape(figure.unit)})</th>"
        f"<td>{value_text(item.a, figure.unit)} → {value_text(item.b, figure.unit)}</td>"
        f"<td><strong>{value_text(item.difference, figure.unit, '+')}</strong>{reach}</td></tr>"
    )
