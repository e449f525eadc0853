"""The series as one picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from paxcommit.errors import ConfigurationError
from paxcommit.testing.bench.plots import COLOURS, STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["write_picture"]

_SYSTEMS = ("paxcommit-decided", "paxcommit-applied")


def write_picture(path: Path, document: dict[str, Any]) -> None:
    """Draw the JSON document of a run; the file's suffix (svg, png) says as what.

    Raises:
        ConfigurationError: It cannot be written.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**STYLE, "svg.hashsalt": "paxcommit"}):
        figure = Figure(figsize=(12, 6.4), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(2, 3)
        _by(axes[0][0], document["by_participants"], "participants", "p50", "N participants")
        _by(axes[0][1], document["by_participants"], "participants", "throughput", "N participants")
        _by(axes[0][2], document["by_failures"], "failures", "p50", "F")
        _latency(axes[1][0], document["by_backlog"], "backlog", "transactions in doubt")
        _recovery(axes[1][1], document["by_backlog"])
        _latency(axes[1][2], document["by_rows"], "rows", "rows at every acceptor")
        handles, labels = axes[1][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        try:
            figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else {})
        except OSError as error:
            raise ConfigurationError(f"cannot write {path}: {error.strerror}") from None
        except ValueError:
            raise ConfigurationError(f"{path}: name it .svg or .png") from None


def _by(axes: Axes, points: list[dict[str, Any]], what: str, metric: str, label: str) -> None:
    """Ratios to the bare driver in the same place; the most clients for throughput, else one."""
    numbers = sorted({point["clients"] for point in points})
    clients = numbers[-1] if metric == "throughput" else numbers[0]
    title = "Throughput" if metric == "throughput" else "Commit latency"
    axes.set_title(f"{title}, times bare, {_clients(clients)}")
    axes.axhline(1.0, color=COLOURS["bare"], linewidth=0.8)
    for system in _SYSTEMS:
        mine = [p for p in points if (p["system"], p["clients"]) == (system, clients)]
        axes.plot(
            [p[what] for p in mine],
            [p["vs_bare"][metric] for p in mine],
            marker="o",
            color=COLOURS[system],
        )
    axes.set_xlabel(label)
    axes.set_xticks(sorted({point[what] for point in points}))
    axes.set_ylim(bottom=0)


def _latency(axes: Axes, points: list[dict[str, Any]], what: str, label: str) -> None:
    """Latencies beside the bare driver's own where there was nothing yet."""
    axes.set_title(f"Commit latency, times bare at 0, {_clients(points[0]['clients'])}")
    base = next(p["commit_p50_ms"] for p in points if p["system"] == "bare")
    for system in ("bare", *_SYSTEMS):
        mine = [p for p in points if p["system"] == system]
        axes.plot(
            [p[what] for p in mine],
            [p["commit_p50_ms"] / base for p in mine],
            marker="o",
            color=COLOURS[system],
            label=system,
        )
    axes.set_xscale("symlog", linthresh=min(p[what] for p in points if p[what]))
    axes.set_xlabel(label)
    axes.set_ylim(bottom=0)


def _recovery(axes: Axes, points: list[dict[str, Any]]) -> None:
    mine = [p for p in points if "recovered_in_seconds" in p]
    axes.set_title("From SIGKILL to the last lock free, seconds")
    axes.loglog(
        [p["backlog"] for p in mine],
        [p["recovered_in_seconds"] for p in mine],
        marker="o",
        color=COLOURS["paxcommit-applied"],
    )
    axes.set_xlabel("transactions in doubt")


def _clients(number: int) -> str:
    return f"{number} client{'' if number == 1 else 's'}"
