"""The documents name files and tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    page.relative_to(ROOT) for folder in (ROOT, ROOT / "docs", ROOT / "proto") for page in folder.glob("*.md")
)
FOLDERS = (
    "controlplane/",
    "agent/",
    "sdk-python/",
    "proto/",
    "tests/",
    "manifests/",
    "migrations/",
    "docs/",
    "examples/",
)


def missing(text: str, folder: Path) -> list[str]:
    """What `text`, a page in `folder`, names in backticks or links and is not there."""
    paths = [name for name in re.findall(r"`([\w./-]+)`", text) if name.startswith(FOLDERS)]
    absent = [name for name in paths if not (ROOT / name).exists()]
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    absent += [link for link in links if link and not (folder / link).exists()]
    tests = "\n".join(
        file.read_text() for part in ("sdk-python/tests", "tests") for file in (ROOT / part).rglob("test_*.py")
    )
    absent += [name for name in re.findall(r"`(test_\w+)`", text) if f"def {name}(" not in tests]
    return absent


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_page_names_what_exists(page: Path) -> None:
    assert missing((ROOT / page).read_text(), (ROOT / page).parent) == []


def test_a_name_that_does_not_exist_is_seen() -> None:
    text = "`agent/no-such-file.rs`, `test_" + "nobody_wrote` and [a page](no-such-page.md)"
    assert missing(text, ROOT) == ["agent/no-such-file.rs", "no-such-page.md", "test_" + "nobody_wrote"]
