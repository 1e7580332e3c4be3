"""The Chinese pages say what the English ones say, as far as a program can tell: neither falls behind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAIRS = {
    "README.md": "README.zh-CN.md",
    "docs/troubleshooting.md": "docs/troubleshooting.zh-CN.md",
}
COMMENT = re.compile(r"\s+#\s.*")


@dataclass
class Section:
    """What is between two headings, without its words: what has to be the same in any language."""

    level: int  # of its heading; 0: before the first one
    code: list[list[str]] = field(default_factory=list)  # blocks, by lines, without comments
    tables: list[list[list[list[str]]]] = field(default_factory=list)  # of each cell what is `code` there
    items: int = 0  # of lists
    spans: list[str] = field(default_factory=list)  # what is `code` in the text, in alphabetical order
    links: list[str] = field(default_factory=list)  # where they lead to, in alphabetical order


def sections(text: str) -> Iterator[Section]:
    """The sections of a page."""
    section = Section(0)
    for block in re.split(r"\n{2,}", text.strip("\n")):
        if block.startswith("#"):
            yield section
            section = Section(len(block) - len(block.lstrip("#")))
        elif block.startswith(("    ", "```")):
            section.code.append([COMMENT.sub("", line).strip() for line in block.splitlines()])
        elif block.startswith("|"):
            section.links = sorted(section.links + links(block))
            section.tables.append([[spans(cell) for cell in cells(row)] for row in block.splitlines()])
        else:
            section.items += len(re.findall(r"(?m)^\* ", block))
            section.spans = sorted(section.spans + spans(block))
            section.links = sorted(section.links + links(block))
    yield section


def cells(row: str) -> list[str]:
    """A row's cells; a bar that is part of a cell is written as \\|."""
    return re.split(r"(?<!\\)\|", row.strip().strip("|"))


def spans(text: str) -> list[str]:
    """What is `code` in a text."""
    return sorted(re.sub(r"\s+", " ", found) for found in re.findall(r"`([^`]+)`", text))


def links(text: str) -> list[str]:
    """Where links lead to; a page's translation is the page."""
    return [target.replace(".zh-CN.md", ".md") for target in re.findall(r"\]\(([^)]+)\)", text)]


@pytest.mark.parametrize(("english", "chinese"), PAIRS.items())
def test_both_pages_say_the_same(english: str, chinese: str) -> None:
    theirs, ours = ([*sections((ROOT / page).read_text())] for page in (english, chinese))
    assert [section.level for section in ours] == [section.level for section in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        assert mine == other


@pytest.mark.parametrize(("english", "chinese"), PAIRS.items())
def test_the_first_line_leads_to_the_other_language(english: str, chinese: str) -> None:
    for page, other in ((english, chinese), (chinese, english)):
        first = (ROOT / page).read_text().partition("\n")[0]
        assert f"]({Path(other).name})" in first


def test_a_chinese_page_links_to_chinese_pages() -> None:
    for chinese in PAIRS.values():
        text = (ROOT / chinese).read_text().partition("\n")[2]
        folder = (ROOT / chinese).parent
        for target in re.findall(r"\]\(([^)#:]+\.md)\)", text):
            translated = folder / target.replace(".md", ".zh-CN.md")
            assert ".zh-CN" in target or not translated.exists(), f"{chinese}: {target}"


PAGE = """\
[other](other.md)

# Title

Text with `code`, and a [link](there.md).

    fab build   # a comment

| task | what |
| --- | --- |
| `build` | compiles |
| `deploy` | and `diff`, see [table](table.md) |

* one
* two
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# Title", "## Title"),
        ("`code`", "code"),
        ("there.md", "here.md"),
        ("fab build", "fab deploy"),
        ("| `deploy` | and `diff`, see [table](table.md) |\n", ""),
        ("table.md", "chair.md"),
        ("and `diff`", "and diff"),
        ("| `build` | compiles |", "| `build` |"),
        ("* two\n", ""),
    ],
)
def test_what_differs_is_seen(old: str, new: str) -> None:
    assert old in PAGE
    assert [*sections(PAGE.replace(old, new))] != [*sections(PAGE)]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Title", "标题"),
        ("Text with", "文字"),
        ("# a comment", "# 注释"),
        ("compiles", "编译"),
        ("* one", "* 一"),
        ("there.md", "there.zh-CN.md"),
    ],
)
def test_words_are_the_languages_own(old: str, new: str) -> None:
    assert old in PAGE
    assert [*sections(PAGE.replace(old, new))] == [*sections(PAGE)]
