"""The result as a picture: every system beside the bare driver."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paxcommit.errors import ConfigurationError
from paxcommit.testing.bench.cells import FLOORS, SYSTEMS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "STYLE", "check_plot_tools", "draw_svg", "write_png"]

_METRICS = {
    "throughput": "Throughput",
    "p50": "Commit latency, median",
    "cpu": "Client CPU per transaction",
}
COLOURS = {
    "plain": "#a9b0b8",
    "bare": "#5b6470",
    "logged-2pc": "#d99a2b",
    "sqlalchemy": "#d64545",
    "paxcommit-applied": "#2f9e63",
    "paxcommit-decided": "#3f7fd1",
    "floor": "#1b5e3b",
    "floor-decided": "#24497a",
    "floor-led": "#4a7c2f",
    "floor-led-decided": "#2f5f7c",
    "floor-rows": "#8fceac",
    "floor-rows-decided": "#a3c4ee",
    "floor-votes": "#9b7fc4",
    "floor-branches": "#c47fa8",
}
STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.alpha": 0.3,
    "legend.frameon": False,
}


def check_plot_tools() -> None:
    """See that a picture can be made, before a run and not after it.

    Raises:
        ConfigurationError: What it is made with is not installed.
    """
    try:
        import jinja2  # noqa: F401 - whether it is there
        import matplotlib as _  # noqa: F401 - likewise
    except ImportError:
        raise ConfigurationError(
            "pictures need Jinja2 and Matplotlib, which come with the extra: pip install "
            "'paxcommit[bench]'"
        ) from None


def draw_svg(rows: list[dict[str, Any]]) -> str:
    """Draw, as an ``<svg>`` element that can stand in a page of HTML; `rows` as in the JSON."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    out = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure = _draw(rows)
        FigureCanvasSVG(figure)
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def write_png(path: Path, rows: list[dict[str, Any]]) -> None:
    """Draw into a file.

    Raises:
        ConfigurationError: It cannot be written.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with matplotlib.rc_context(STYLE):
        figure = _draw(rows)
        FigureCanvasAgg(figure)
        try:
            figure.savefig(path, format="png", dpi=110)
        except OSError as error:
            raise ConfigurationError(f"cannot write {path}: {error.strerror}") from None


def _draw(rows: list[dict[str, Any]]) -> Figure:
    """One row of plots per driver and N, one column per metric; the smallest F."""
    from matplotlib.figure import Figure

    blocks = sorted({(row["driver"], row["participants"]) for row in rows})
    figure = Figure(figsize=(12, 2.9 * len(blocks) + 0.6), layout="constrained")
    axes = figure.subplots(len(blocks), len(_METRICS), squeeze=False)
    systems = [name for name in (*SYSTEMS, *FLOORS) if any(row["system"] == name for row in rows)]
    smallest = min((row["failures"] for row in rows if row["failures"]), default=None)
    for line, (driver, n) in zip(axes, blocks, strict=True):
        mine = [
            row
            for row in rows
            if (row["driver"], row["participants"]) == (driver, n)
            and row["failures"] in (None, smallest)
        ]
        clients = sorted({row["clients"] for row in mine})
        for each, (metric, title) in zip(line, _METRICS.items(), strict=True):
            each.set_title(f"{title}, times bare: {driver}, N={n}")
            each.axhline(1.0, color=COLOURS["bare"], linewidth=0.8)
            each.set_xticks(range(len(clients)), [f"{number} clients" for number in clients])
            for at, system in enumerate(systems):
                ratio = {
                    row["clients"]: row["vs_bare"][metric]
                    for row in mine
                    if row["system"] == system and row["vs_bare"][metric] is not None
                }
                width = 0.8 / len(systems)
                each.bar(
                    [clients.index(number) - 0.4 + (at + 0.5) * width for number in ratio],
                    list(ratio.values()),
                    width * 0.92,
                    color=COLOURS[system],
                    label=system,
                )
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(systems))
    return figure
