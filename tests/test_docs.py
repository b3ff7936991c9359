"""The documentation agrees with the code: generated pages are up to date; links, files, targets and metrics exist."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
README = PROJECT / "README.md"
PAGES = [README, *sorted((PROJECT / "docs").rglob("*.md"))]
ARCHITECTURE = PROJECT / "docs" / "architecture.md"
MAX_README_WORDS = 1_100


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def targets(page: Path) -> list[str]:
    """The files that a page links to or shows, without those on the web; each with its #heading, if there is one."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    found = re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", text)
    return [target for pair in found for target in pair if target and "://" not in target]


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    lines = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", re.sub(r"\]\([^)]*\)", "", line).lower()).replace(" ", "-") for line in lines}


def test_the_reference_is_what_the_code_says() -> None:
    ran = run("docs/reference/generate.py", "--check")
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("picture", ["architecture", "house"])
def test_a_picture_is_what_its_source_draws(picture: str) -> None:
    program = f"import sys; sys.path.insert(0, 'docs/pictures'); import architecture as a; print(a.{picture}(), end='')"
    ran = run("-c", program)
    assert ran.stdout == (PROJECT / "docs" / "pictures" / f"{picture}.svg").read_text(), ran.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_files_that_are_named_exist(page: Path) -> None:
    named = re.findall(
        r"`((?:yasdg_app|tests|docs|benchmarks|config|examples|schemas|deploy)/[\w./-]*)`", page.read_text()
    )
    assert [name for name in named if not (PROJECT / name).exists()] == []


def test_a_newcomer_finds_each_answer_in_one_file() -> None:
    rows = re.findall(r"^\| (.+\?) \| `(yasdg_app/[\w/]+\.py)` \|$", ARCHITECTURE.read_text(), re.MULTILINE)
    assert len(rows) >= 10
    assert len({question for question, _ in rows}) == len({file for _, file in rows}) == len(rows)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in targets(page):
        path, _, heading = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if heading and file.suffix == ".md":
            assert heading in headings(file), target


def test_every_page_can_be_found_from_the_readme() -> None:
    reached: set[Path] = set()
    new = {README}
    while new:
        reached |= new
        linked = {(page.parent / target.partition("#")[0]).resolve() for page in new for target in targets(page)}
        folders = {page for folder in linked if folder.is_dir() for page in folder.glob("*.md")}
        new = {page for page in linked | folders if page.suffix == ".md" and page.exists()} - reached
    assert set(PAGES) - reached == set()


def test_the_readme_is_short_and_begins_with_two_commands() -> None:
    text = README.read_text()
    assert len(text.split()) <= MAX_README_WORDS
    assert re.findall(r"^    (make \w+)", text, re.MULTILINE)[:2] == ["make run", "make test"]


def test_targets_of_make_that_are_named_exist() -> None:
    makefile = (PROJECT / "Makefile").read_text()
    compared = re.search(r"^COMPARED := .*bench-,([^)]*)\)", makefile, re.MULTILINE)
    others = re.search(r"^BENCHES := .*bench-,([^)]*)\)", makefile, re.MULTILINE)
    assert compared
    assert others
    known = {f"bench-{name}" for match in (compared, others) for name in match[1].split()}
    known |= set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = {target for page in PAGES for target in re.findall(r"\bmake ([a-z-]+)(?=[`\s])", code(page))}
    assert named <= known


def code(page: Path) -> str:
    """What a page shows as code: indented lines, and what is between backticks."""
    text = page.read_text()
    return "\n".join(re.findall(r"^    .*$|`[^`\n]+`", text, re.MULTILINE)) + "\n"


def test_every_metric_that_a_page_names_exists() -> None:
    reference = (PROJECT / "docs" / "reference" / "metrics.md").read_text()
    known = set(re.findall(r"`(yasdg_[a-z_]+)", reference))
    named = {name for page in PAGES for name in re.findall(r"`(yasdg_[a-z]+_[a-z_]+)`", page.read_text())}
    assert {name for name in named if not name.startswith("yasdg_app")} <= known
