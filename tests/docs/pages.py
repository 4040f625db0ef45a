"""What the pages for users say that can be tried: their blocks of code, their links, the names in them."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "decisions").glob("*.md")),
    *sorted((ROOT / "docs" / "recipes").glob("*.md")),
)
CODE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code: its page, the line that it begins at, its language and its text."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> tuple[str, ...]:
        """Return the commands of a block for a shell, without comments, continued lines joined."""
        without = re.sub(r"(^|\s+)#.*$", "", self.text.replace("\\\n", " "), flags=re.MULTILINE)
        lines = re.split(r"\n(?=\S)", without)
        return tuple(line.strip().removesuffix("&").strip() for line in lines if line.strip())


def blocks(*languages: str) -> list[Block]:
    """Return the blocks of these languages on all pages; all blocks if none is named."""
    return [each for page in PAGES for each in _blocks(page) if not languages or each.language in languages]


def _blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(
            page,
            text.count("\n", 0, found.start()) + 1,
            found[2],
            re.sub(f"^{found[1]}", "", found[3], flags=re.MULTILINE),
        )
        for found in CODE.finditer(text)
    ]


def quoted(page: Path) -> list[str]:
    """Return what the prose of a page has as code, without line breaks."""
    return [re.sub(r"\s+", " ", each) for each in re.findall(r"`([^`]+)`", prose(page))]


def prose(page: Path) -> str:
    """Return a page without its blocks of code."""
    return CODE.sub("", page.read_text())
