"""`--html`: a report as one page that opens anywhere, without a network.

reports, curves, split texts ──► PageContent ──► page.py ──► one HTML file
                                                 figures.py    tables
                                                 plots.py      charts.py, scales.py
                                                 split_view.py split text in colours
                                                 page.css, page.js
"""

from __future__ import annotations

from gristmill.report_page.build import (
    single_report as single_report,
    write_advice_page as write_advice_page,
    write_report_page as write_report_page,
)
from gristmill.report_page.page import (
    Excerpt as Excerpt,
    PageContent as PageContent,
    check_page_path as check_page_path,
    render_page as render_page,
    write_page as write_page,
)
