"""The report of a study: one HTML file that opens offline, first what was found, then the evidence, then provenance."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from plotly.offline import get_plotlyjs

from flowsearch.analysis import paper_formats, theme
from flowsearch.analysis.configurations_table import configurations_table
from flowsearch.analysis.figures import GRIDS, SECTIONS, GridSection, Plot, Section, spoken
from flowsearch.analysis.findings import asked_for, findings, status_line
from flowsearch.analysis.paper_figures import is_drawn
from flowsearch.analysis.paper_tables import Paper, paper
from flowsearch.analysis.standings_table import standings_table
from flowsearch.analysis.trials_table import constant, failures_table, maps_table, trials_table
from flowsearch.analysis.wording import command_line, devices
from flowsearch.results import Results, load, schema
from flowsearch.results.forms import duration, number
from flowsearch.storage import Store, inside, outside, store_at

_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:; font-src data:"
)
"""The page may load nothing, whatever a study's names and reasons hold."""

Part = tuple[str, str, str]
"""A section's anchor, title and body."""

_FIRST = ("Best so far", "Pareto front", "Comparison", "Effects")
"""Sections of figures that stand before the reconstructions."""
_OPEN = 2
"""Tasks whose figures are seen at once; those of others are a click away."""


SUFFIXES = {"html": ".html", **{form: f".{suffix}" for form, (_, suffix) in paper_formats.FORMATS.items()}}
"""What a report can be written as, and how its file's name ends."""


def write_report(
    folders: Sequence[Path | str], out: Path | None = None, form: str = "html", pictures: bool | None = None
) -> Path | str:
    """Write the report of a study to `out` (default: `report.html` in its folder) and return where it lies.

    `form` is html, or md or latex for the tables of a paper, which may be those of several studies one after another.
    Beside the tables come the paper's figures as PNG files, of `pictures` None those of flowsearch's drawn faces only,
    so that nobody's picture is written without being asked for; an HTML report has its pictures inside.
    Works on a study that is empty, running, interrupted or has failed trials only, and says so. A file appears whole
    or not at all. Raises `ValueError` where a folder is no study's, or the file cannot be written.
    """
    target = out if out is not None else inside(folders[0], Path(schema.REPORT_FILE).with_suffix(SUFFIXES[form]).name)
    if isinstance(target, Path) and target.is_dir():
        raise ValueError(
            f"the report is one file, and {target} is a folder; name a file such as {target / 'report.html'}"
        )
    studies = _loaded(folders, form)
    store = store_at(outside(target))
    if form == "html":
        if pictures is not None:
            raise ValueError("an HTML report has its pictures inside; --pictures is for --format md and latex")
        text = render(studies[0])
    else:
        papers = [paper(one, is_drawn(one) if pictures is None else pictures) for one in studies]
        files = {figure.file: figure.png for one in papers for figure in one.figures}
        if len(files) < sum(len(one.figures) for one in papers):
            raise ValueError("two of the studies have the same name, and so would their figures; report on each alone")
        for name, png in files.items():
            _put(store, name, png)
        text = _written(papers, form)
    _put(store, Path(str(target).partition("?")[0]).name, text.encode())
    return target


def _put(store: Store, name: str, content: bytes) -> None:
    try:
        store.put(name, content)
    except OSError as error:
        if error.errno is None:
            raise
        raise ValueError(
            f"{name} cannot be written to {store.where} ({error.strerror}); "
            "flowsearch report --out FILE writes elsewhere"
        ) from error


def rendered(folders: Sequence[Path | str], form: str = "html") -> str:
    """What `write_report` writes as one text: an HTML report with its pictures, tables without figures."""
    studies = _loaded(folders, form)
    return render(studies[0]) if form == "html" else _written([paper(one) for one in studies], form)


def _loaded(folders: Sequence[Path | str], form: str) -> list[Results]:
    if form == "html" and len(folders) > 1:
        raise ValueError("an HTML report is about one study; --format md and latex take several")
    return [load(folder) for folder in folders]


def _written(papers: Sequence[Paper], form: str) -> str:
    return "\n".join(map(paper_formats.FORMATS[form][0], papers))


def render(results: Results) -> str:
    """The page of a study."""
    parts: list[Part] = [("found", "What was found", _found(results))]
    parts.append(("configurations", "Best configurations", configurations_table(results)))
    parts.append(("standings", "Best of each method", standings_table(results)))
    figures: dict[str, str] = {}
    drawn = {section.title: _plots(results, section, figures) for section in SECTIONS}
    parts += [drawn.pop(title) for title in _FIRST]
    reconstructions, *grids = [_grids(results, section) for section in GRIDS]
    parts += [reconstructions, *drawn.values(), *grids]
    parts.append(("trials", "Trials", _trials(results)))
    parts.append(("failures", "Failures and warnings", failures_table(results)))
    parts.append(("provenance", "Provenance", _provenance(results)))
    shown = [part for part in parts if part[2]]
    return _page(results, shown, figures)


def _found(results: Results) -> str:
    sentences = "".join(f"<li>{escape(sentence)}</li>" for sentence in findings(results))
    return f'<ul class="findings">{sentences}</ul>{maps_table(results)}'


def _trials(results: Results) -> str:
    if results.trials.empty:
        return ""
    same = ", ".join(f"{name} {number(value)}" for name, value in constant(results.trials).items())
    note = f'<p class="note">The same in every trial that it applies to: {escape(same)}.</p>' if same else ""
    return trials_table(results) + note


def _plots(results: Results, section: Section, figures: dict[str, str]) -> Part:
    """A section's anchor, title and body; a plot without data is left out, a section without plots is empty."""
    places: dict[str | None, str] = {}
    for plot in section.plots(results):
        place = _plot(results, section, plot, figures)
        if place:
            places[plot.task] = places.get(plot.task, "") + place
    return _part(results, section, {task: f'<div class="plots">{body}</div>' for task, body in places.items()})


def _plot(results: Results, section: Section, plot: Plot, figures: dict[str, str]) -> str:
    """Where the page's script draws the plot, whose content is put to `figures`; empty without data."""
    frame = plot.data(results)
    if frame.empty:
        return ""
    figure = plot.draw(frame)
    figure.layout.template = None  # the page brings the templates, once
    figures[f"figure-{plot.name}"] = figure.to_json()
    height = figure.layout.height or theme.HEIGHT
    width = (figure.layout.meta or {}).get("min_width")
    name = escape(spoken(section.title, plot.task, figure))
    place = f'<div class="plot" role="img" aria-label="{name}" data-figure="figure-{plot.name}"'
    place += f' style="min-height:{height}px'
    if width is None:
        return f'{place}"></div>'
    return f'<div class="scroll wide">{place};min-width:{width}px"></div></div>'


def _grids(results: Results, section: GridSection) -> Part:
    """The same of a section of pictures."""
    places: dict[str | None, str] = {}
    for grid in section.grids(results):
        frame = grid.data(results)
        if len(frame):
            heading = f"<h3>{escape(grid.title)}</h3>" if grid.title else ""
            places[grid.task] = places.get(grid.task, "") + heading + grid.draw(frame)
    return _part(results, section, places)


def _part(results: Results, section: Section | GridSection, places: Mapping[str | None, str]) -> Part:
    """What a section shows of each task; of several tasks the first ones are open, the others a click away."""
    parts = list(places.values())
    if len(places) > 1:
        parts = [
            f"<details{' open' if number < _OPEN else ''}><summary>{escape(str(task))}</summary>{part}</details>"
            for number, (task, part) in enumerate(places.items())
        ]
    body = f'<p class="caption">{section.said(results)}</p>{"".join(parts)}' if parts else ""
    return section.anchor, section.title, body


def _provenance(results: Results) -> str:
    facts = dict(_flat(results.provenance))
    command = results.provenance.get("command")
    if isinstance(command, list) and command:
        facts["command"] = command_line(command)
    if ran_on := devices(results):
        facts["trials on"] = ran_on
    spent = results.trials["seconds"].astype(float).sum()
    if spent > 0:
        facts["time of all trials together"] = duration(spent)
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
    body = f"<dl>{rows}</dl>" if rows else "<p>No provenance was recorded.</p>"
    folder, file = shlex.quote(results.where), shlex.quote(f"{results.where}/{schema.STUDY_FILE}")
    resume = f"flowsearch study resume {folder}\n" if _unfinished(results) else ""
    commands = f"{resume}flowsearch study run {file} --results ELSEWHERE\nflowsearch report {folder}"
    what = (
        "To go on with it, to run it again elsewhere, and to" if resume else "To run the study again elsewhere, and to"
    )
    body += f"<h3>Again</h3><p>{what} write this page anew:</p><pre>{escape(commands)}</pre>"
    text = results.text(schema.STUDY_FILE)
    if text is None:
        return body + "<p>There is no study file in the folder.</p>"
    return body + f"<h3>Study file</h3><pre>{escape(text.strip())}</pre>"


def _unfinished(results: Results) -> bool:
    ended = int(results.trials["status"].isin(schema.ENDED - {schema.INTERRUPTED}).sum())
    return ended < len(results.trials) or ended < (asked_for(results) or 0)


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Nested facts as `name, value` pairs, a level deeper after a dot."""
    for name, value in values.items():
        path = f"{above}.{name}" if above else str(name)
        if isinstance(value, Mapping):
            yield from _flat(value, path)
        elif isinstance(value, list) and not any(isinstance(one, Mapping | list) for one in value):
            yield path, ", ".join(map(str, value))
        else:
            yield path, value if isinstance(value, str) else json.dumps(value)


def _page(results: Results, parts: list[Part], figures: dict[str, str]) -> str:
    name = escape(results.name)
    links = "".join(f'<a href="#{anchor}">{title}</a>' for anchor, title, _ in parts)
    sections = "".join(f'<section id="{anchor}"><h2>{title}</h2>{body}</section>' for anchor, title, body in parts)
    notices = "".join(f'<p class="notice">Not everything could be read: {escape(note)}.</p>' for note in results.notes)
    templates = json.dumps({mode: theme.template(mode).to_plotly_json() for mode in theme.MODES})
    scripts = _data("templates", templates) + "".join(_data(key, value) for key, value in figures.items())
    written = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{name}: flowsearch report</title>
<style>{_resource("report.css")}</style>
</head>
<body>
<header>
<h1>{name}</h1>
<p class="lead">{escape(status_line(results))}</p>
{notices}<nav aria-label="Sections">{links}</nav>
</header>
<main>{sections}</main>
<footer>Written by flowsearch {escape(version("flowsearch"))} on {written}.</footer>
{scripts}
<script>{get_plotlyjs()}</script>
<script>{_resource("report.js")}</script>
</body>
</html>
"""


def _data(key: str, text: str) -> str:
    # "<" escaped, so that no text in the data can end the element.
    return f'<script type="application/json" id="{key}">{text.replace("<", chr(92) + "u003c")}</script>'


def _resource(name: str) -> str:
    return (files("flowsearch.analysis") / "page" / name).read_text(encoding="utf-8")
