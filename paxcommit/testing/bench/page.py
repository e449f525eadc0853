"""One self-contained page of HTML: ratios, picture, cells, counts, and how it was measured."""

from __future__ import annotations

from pathlib import Path

from paxcommit.errors import ConfigurationError
from paxcommit.testing.bench.cells import FLOORS, SYSTEMS
from paxcommit.testing.bench.plots import check_plot_tools, draw_svg
from paxcommit.testing.bench.reckoning import TARGETS
from paxcommit.testing.bench.run import Result

__all__ = ["render", "write_page"]


def write_page(path: Path, result: Result) -> None:
    """Write the page.

    Args:
        path: The file; replaced if there is one.
        result: What it shows.

    Raises:
        ConfigurationError: It cannot be written, or what it is made with is not installed.
    """
    text = render(result)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from None


def render(result: Result) -> str:
    """Make the page's text; see `write_page`."""
    check_plot_tools()
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("paxcommit.testing.bench", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    document = result.document
    return environment.get_template("page.html.jinja").render(
        document=document,
        picture=draw_svg(document["cells"]),
        systems={name: {**SYSTEMS, **FLOORS}[name] for name in result.plan.systems},
        targets=[target for target in TARGETS if target.name in document["ratios"]],
    )
