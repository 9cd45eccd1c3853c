"""What MkDocs does beside reading Markdown: notebooks are executed, pages outside ``docs`` come in, links follow.

- A notebook is run from top to bottom, and what it shows is put below its cells, so that it is a page like any other:
  its links are checked, and it loads nothing from a network. A cell that raises stops the build.
- The pages that live elsewhere in the repository (`OUTSIDE`) are pages of the site, from the one source.
- Links are written as they lead in the repository, and are turned into those of the site.
"""

import base64
import inspect
import logging
import os
import posixpath
import re
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from traitlets.config import Config
from typer.main import get_command

from biasprop.cli.application import application

ROOT = Path(__file__).parents[1]

OUTSIDE = {
    "README.md": "overview.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "experiments/README.md": "experiments.md",
}
"""Pages of the repository -> pages of the site. Pictures beside them come along."""

PICTURES = {"experiments/results": "results"}

COMMANDS = "reference/command-line.md"
"""The page to which the subcommands are added."""

AS_WRITTEN = "BIASPROP_NOTEBOOKS_AS_WRITTEN"
"""Set to 1, notebooks are shown without being run: for a look at the other pages while one writes."""

log = logging.getLogger("mkdocs.plugins.notebooks")


class Notebook(File):  # type: ignore[misc]
    """A page that is written as a notebook."""

    def is_documentation_page(self) -> bool:
        """A page, not a file to be copied."""
        return True


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Run the notebooks, take the pages and pictures from elsewhere in."""
    for file in list(files):
        if file.src_uri.endswith(".ipynb"):
            files.remove(file)
            page = Notebook(file.src_uri, config.docs_dir, config.site_dir, config.use_directory_urls)
            page.markdown, page.html, pictures = _executed(Path(page.abs_src_path), config)
            files.append(page)
            for picture in pictures:
                files.append(picture)
    for path, name in OUTSIDE.items():
        files.append(File.generated(config, name, content=(ROOT / path).read_text(encoding="utf-8")))
    for folder, name in PICTURES.items():
        for picture in sorted((ROOT / folder).glob("*.png")):
            if not _ignored(picture):
                files.append(File.generated(config, f"{name}/{picture.name}", content=picture.read_bytes()))
    return files


def on_page_read_source(page: Page, **_: Any) -> str | None:
    """What a notebook has become."""
    return page.file.markdown if isinstance(page.file, Notebook) else None


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Links that lead through the repository."""
    if page.file.src_uri == COMMANDS:
        markdown = f"{markdown}\n{_commands()}"
    inside = {name: path for path, name in OUTSIDE.items()}
    here = inside.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    markdown = re.sub(r"^```mermaid\nflowchart TD\n(.*?)^```$", _as_table, markdown, flags=re.MULTILINE | re.DOTALL)
    pieces = re.split(r"(^```.*?^```|`[^`\n]+`)", markdown, flags=re.MULTILINE | re.DOTALL)
    followed = "".join(
        piece if k % 2 else re.sub(r"(\]\()([^)\s#]+)", _follow(here, page.file.src_uri), piece)
        for k, piece in enumerate(pieces)
    )
    return _with_lists(followed)


def on_page_content(html: str, page: Page, **_: Any) -> str:
    """What notebooks show as HTML is put in where its place was kept."""
    for mark, shown in getattr(page.file, "html", {}).items():
        if mark not in html:
            raise PluginError(f"{page.file.src_uri}: the place of an output was lost.")
        html = html.replace(mark, shown)
    return html


def _follow(here: str, name: str) -> Callable[[re.Match[str]], str]:
    """From a link in the file ``here`` of the repository to one in the page ``name`` of the site."""

    def follow(match: re.Match[str]) -> str:
        link = match[2]
        if "://" in link or link.startswith(("mailto:", "/")):
            return match[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), link))
        folder, _, last = target.rpartition("/")
        if target in OUTSIDE:
            target = OUTSIDE[target]
        elif folder in PICTURES:
            target = f"{PICTURES[folder]}/{last}"
        elif target.startswith("docs/"):
            target = target.removeprefix("docs/")
        else:
            return match[0]  # leads nowhere in the site: the strict build says so
        return match[1] + posixpath.relpath(target, posixpath.dirname(name) or ".")

    return follow


def _as_table(flowchart: re.Match[str]) -> str:
    """A flowchart as a table, from above to below: the script that draws such charts would come from a network."""
    said = dict(re.findall(r'^ *(\w+)\["<b>\w+</b><br/>(.*?)"\]$', flowchart[1], re.MULTILINE))
    label = dict(re.findall(r'^ *(\w+)\["<b>(\w+)</b>', flowchart[1], re.MULTILINE))
    below: dict[str, list[str]] = {name: [] for name in said}
    for above, used in re.findall(r"^ *(\w+) --> (.+)$", flowchart[1], re.MULTILINE):
        below[above] += used.split(" & ")

    def height(name: str) -> int:
        return 1 + max((height(one) for one in below[name]), default=0)

    rows = [
        f"| **{label[name]}** | {said[name]} | {', '.join(label[one] for one in below[name])} |"
        for name in sorted(said, key=height, reverse=True)
    ]
    return "\n".join(["| folder | what lives there | rests on |", "|---|---|---|", *rows])


def _with_lists(markdown: str) -> str:
    """With a blank line before each list: elsewhere one may follow a paragraph at once, for MkDocs it may not."""
    lines: list[str] = []
    fenced = False
    for line in markdown.splitlines():
        before = lines[-1] if lines else ""
        starts = re.match(r"(?:[-*]|\d+\.) ", line) and not fenced
        if starts and before.strip() and not re.match(r"(?:[-*]|\d+\.) |\s", before):
            lines.append("")
        fenced ^= line.startswith("```")
        lines.append(line)
    return "\n".join(lines) + "\n"


def _commands() -> str:
    """A section for each subcommand, with its options, from the program."""
    sections = []

    def add(command: Any, name: str) -> None:
        for inner, one in getattr(command, "commands", {}).items():
            add(one, f"{name} {inner}")
        if hasattr(command, "commands"):
            return
        rows = [_option(parameter) for parameter in command.params if parameter.name != "help"]
        table = "\n".join(["| option | what it says | default |", "|---|---|---|", *rows])
        example = f"\n\n{command.epilog}" if command.epilog else ""
        sections.append(f"## {name}\n\n{inspect.cleandoc(command.help or '')}{example}\n\n{table}\n")

    add(get_command(application()), "biasprop")
    return "\n".join(sections)


def _option(parameter: Any) -> str:
    """A row of the table."""
    names = parameter.opts if parameter.param_type_name == "option" else [f"{parameter.name}..."]
    given = ", ".join(f"`{name}`" for name in names)
    default = parameter.default
    shown = "" if default in (None, False, ()) or callable(default) else f"`{default}`"
    said = "required" if parameter.required else shown
    text = " ".join((getattr(parameter, "help", None) or "").split()).replace("|", "\\|").replace("<", "&lt;")
    return f"| {given} | {text} | {said} |"


def _ignored(picture: Path) -> bool:
    """Pictures of photos that are not kept in the repository."""
    return picture.name.startswith("photo-")


def _executed(path: Path, config: MkDocsConfig) -> tuple[str, dict[str, str], list[File]]:
    """A notebook as Markdown, with its outputs: the HTML ones by their marks, and pictures as files beside it."""
    start = time.perf_counter()
    notebook: Any = nbformat.read(path, as_version=4)
    os.environ["TQDM_DISABLE"] = "1"  # no bars
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # a remark of the debugger's
    with TemporaryDirectory() as folder:
        socket = {"transport": "ipc", "ip": f"{folder}/kernel"}  # on this machine alone, without an open port
        client = NotebookClient(
            notebook,
            timeout=600,
            kernel_name="python3",
            resources={"metadata": {"path": str(path.parent)}},
            config=Config({"KernelManager": socket}),
        )
        try:
            if os.environ.get(AS_WRITTEN) != "1":
                client.execute()
        except CellExecutionError as error:
            raise PluginError(f"{path.name}: a cell raises.\n{error}") from error
    log.info("%s ran in %.0f s", path.name, time.perf_counter() - start)
    page, html, pictures = [], {}, []
    uri = path.relative_to(config.docs_dir).as_posix().removesuffix(".ipynb")
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            page.append(cell.source)
            continue
        page.append(_fenced(cell.source, "python"))
        for k, output in enumerate(cell.outputs):
            if output.output_type == "stream":
                if output.name == "stderr":
                    raise PluginError(f"{path.name}: a cell writes to stderr:\n{output.text}")
                page.append(_fenced(output.text, "text", "output"))
                continue
            data = output.data
            name = f"{uri}-{number}-{k}"
            if "text/html" in data:
                mark = f"<!-- output {number} {k} -->"
                html[mark] = data["text/html"]
                page.append(f'<div class="output shown">{mark}</div>')
            elif "image/png" in data:
                pictures.append(File.generated(config, f"{name}.png", content=base64.b64decode(data["image/png"])))
                text = cell.metadata.get("alt") or "The picture that the cell draws"
                page.append(f"![{text}]({posixpath.basename(name)}.png)")
            elif "text/plain" in data:
                page.append(_fenced(data["text/plain"], "text", "output"))
    return "\n\n".join(page) + "\n", html, pictures


def _fenced(text: str, language: str, kind: str = "") -> str:
    """A block of code; the fence is longer than any in it."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    head = f"{{ .{language} .{kind} .no-copy }}" if kind else language
    return f"{fence}{head}\n{text.rstrip()}\n{fence}"
