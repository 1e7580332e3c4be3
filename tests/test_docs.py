"""Pages that are written from the code say what it says now."""

import re
from pathlib import Path

import pytest

from tests.docs import PAGES, ROOT, written

BY_HAND = *ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/*.md")
PAGES_BY_HAND = sorted(path.relative_to(ROOT) for path in BY_HAND)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_as_the_code_is(page: str) -> None:
    assert (ROOT / page).read_text() == written(page), "make docs writes it"


@pytest.mark.parametrize("page", PAGES_BY_HAND, ids=str)
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text()):
        assert (ROOT / page.parent / target).exists(), target
