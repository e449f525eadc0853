"""The page's picture: throughput, latency and doubt over time, with the faults shaded.

One SVG whose texts stay texts.  Its ink takes the page's colours (see the template), so that it can
be read on dark ground too.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from paxcommit.testing.chaos.page_series import Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw"]

_GREEN, _AMBER, _RED, _BLUE = "#2f9e63", "#d99a2b", "#d64545", "#3f7fd1"
_VIOLET, _GREY = "#7d63c9", "#8a8f98"
_SHADE = "#8a8f98"
_INK = "#1b1f24"
"""What the template replaces by the page's own."""

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "paxcommit",  # the same history, the same bytes
    "font.family": "sans-serif",
    "font.size": 9.5,
    "text.color": _INK,
    "axes.edgecolor": _GREY,
    "axes.labelcolor": _INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlecolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "ytick.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": _GREY,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
}


def draw(series: Series) -> str:
    """Draw, as an ``<svg>`` element that can stand in a page of HTML."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    kinds = list(dict.fromkeys(span.kind for span in series.faults))
    lanes = max(0.6, 0.18 * len(kinds))
    heights = [lanes, 2.0, 1.7, 1.1, 1.1]
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(10.5, sum(heights) + 2.3), layout="constrained")
        FigureCanvasSVG(figure)
        figure.patch.set_alpha(0)
        axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
        for each in axes:
            each.patch.set_alpha(0)
            each.set_axisbelow(True)
        _draw_faults(axes[0], series, kinds)
        _draw_throughput(axes[1], series)
        _draw_latency(axes[2], series)
        _draw_doubt(axes[3], axes[4], series)
        for each in axes[1:]:
            _shade(each, series)
        axes[-1].set_xlabel("seconds since the start")
        axes[-1].set_xlim(0, max(series.seconds[-1] + 0.5, 1))
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def _shade(axes: Axes, series: Series) -> None:
    for span in series.faults:
        end = _visible(span.start, span.end)
        axes.axvspan(span.start, end, color=_SHADE, alpha=0.13, lw=0, zorder=0.1)


def _visible(start: float, end: float) -> float:
    """A fault of a moment is to be seen too."""
    return max(end, start + 0.15)


def _draw_faults(axes: Axes, series: Series, kinds: list[str]) -> None:
    axes.set_title("Faults" if kinds else "No faults")
    for span in series.faults:
        axes.barh(
            kinds.index(span.kind),
            _visible(span.start, span.end) - span.start,
            left=span.start,
            height=0.62,
            color=_VIOLET if span.proven else "none",
            edgecolor=_VIOLET,
            linewidth=0.8,
        )
    axes.set_yticks(range(len(kinds)), kinds, fontsize=8)
    axes.set_ylim(len(kinds) - 0.4, -0.6)
    axes.grid(axis="x", alpha=0.2)


def _draw_throughput(axes: Axes, series: Series) -> None:
    axes.set_title("Answers per second")
    below = [0] * len(series.seconds)
    for label, colour, values in (
        ("committed", _GREEN, series.committed),
        ("aborted", _AMBER, series.aborted),
        ("unknown", _RED, series.unknown),
    ):
        axes.bar(series.seconds, values, 1.0, bottom=below, color=colour, label=label, lw=0)
        below = [low + value for low, value in zip(below, values, strict=True)]
    _whole_numbers(axes)
    _legend(axes, 3)


def _draw_latency(axes: Axes, series: Series) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set_title("Latency of commits, ms")
    axes.plot(series.seconds, series.p99, color=_RED, lw=1.3, marker=".", ms=3, label="p99")
    axes.plot(series.seconds, series.p50, color=_BLUE, lw=1.3, marker=".", ms=3, label="p50")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    _legend(axes, 2)


def _draw_doubt(count: Axes, age: Axes, series: Series) -> None:
    count.set_title("Branches in doubt")
    count.fill_between(series.looked, series.in_doubt, step="post", color=_BLUE, alpha=0.75, lw=0)
    count.set_ylim(bottom=0)
    _whole_numbers(count)
    _mark_silence(count, series)
    age.set_title("Age of the oldest, s")
    age.fill_between(series.looked, series.oldest, step="post", color=_AMBER, alpha=0.85, lw=0)
    age.set_ylim(bottom=0)
    top = age.get_ylim()[1]
    if series.recovered:
        age.plot(
            series.recovered,
            [top * 0.93] * len(series.recovered),
            "|",
            color=_GREEN,
            ms=8,
            label="a recoverer finished something",
        )
        _legend(age, 1)


def _whole_numbers(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))


def _mark_silence(axes: Axes, series: Series) -> None:
    """Where a bank did not answer, what is shown may be too little."""
    top = axes.get_ylim()[1]
    silent = [top if each else 0.0 for each in series.silent]
    if any(silent):
        axes.fill_between(
            series.looked,
            silent,
            step="post",
            facecolor="none",
            edgecolor=_GREY,
            alpha=0.7,
            hatch="////",
            lw=0,
            label="a bank did not answer",
        )
        _legend(axes, 1)


def _legend(axes: Axes, columns: int) -> None:
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.97), ncols=columns, borderaxespad=0)
