"""The report as its reader meets it: offline, on any screen, with and without scripts."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from pypdf import PdfReader

pytestmark = pytest.mark.browser

ASSETS = Path(__file__).parents[2] / "src/counterpoise/report/assets"
PAPERS = ("rotograd", "thoracic", "deepchest", "imbalance", "db-mtl")


@pytest.fixture
def visit(browser: Any, page_file: Path) -> Any:
    """Open the report in a fresh context; remembers requests and complaints."""
    contexts = []

    def open_page(anchor: str = "", **options: Any) -> Any:
        context = browser.new_context(offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.requests, page.complaints = [], []
        page.on("request", lambda request: page.requests.append(request.url))
        page.on("console", lambda m: page.complaints.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.goto(page_file.as_uri() + anchor)
        return page

    yield open_page
    for context in contexts:
        context.close()


def test_it_opens_offline_without_requests_or_complaints(visit: Any) -> None:
    page = visit()
    assert page.requests == [page.url]
    assert page.complaints == []
    assert page.title()
    assert page.locator("h1").count() == 1


@pytest.mark.parametrize("width", [375, 768, 1280])
def test_nothing_overflows(visit: Any, width: int) -> None:
    page = visit(viewport={"width": width, "height": 800})
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_every_paper_is_there_without_scripts(visit: Any) -> None:
    page = visit(java_script_enabled=False)
    for paper in PAPERS:
        assert page.locator(f'[id="paper:{paper}"]').is_visible()
    assert "stand-in data" in page.locator("main").inner_text().lower()


def test_a_deep_link_unfolds_what_it_points_to(visit: Any) -> None:
    page = visit("#table:db-mtl:table-1")
    assert page.locator('[id="table:db-mtl:table-1"]').is_visible()
    row = page.locator('[id="row:db-mtl:table-1:db-mtl"]').first
    assert row.is_visible()


def test_claims_of_a_paper_can_be_filtered_by_word(visit: Any) -> None:
    page = visit()
    assert page.locator("article[data-word]").count() >= 40
    first = page.locator('.paper:has(.filter [data-word="does not hold"])').first
    other = page.locator(".paper:has(.filter)").last
    everything = [paper.locator("article[data-word]").count() for paper in (first, other)]
    first.locator('.filter button[data-word="does not hold"]').click()
    shown = first.locator("article[data-word]:visible")
    assert 0 < shown.count() < everything[0]
    assert {one.get_attribute("data-word") for one in shown.all()} == {"does not hold"}
    assert other.locator("article[data-word]:visible").count() == everything[1]
    assert other.locator('.filter button[aria-pressed="true"]').inner_text() == "all"


def test_each_of_our_numbers_leads_to_how_it_was_made(visit: Any) -> None:
    page = visit()
    links = page.locator('[id="table:rotograd:table-3"] a[href^="#run:"]')
    assert links.count() > 0
    target = links.first.get_attribute("href")
    page.goto(page.url.partition("#")[0] + target)
    card = page.locator(f'[id="{target[1:]}"]')
    card.wait_for()
    # What it shares with others takes the place of a link to it once the card is open.
    card.locator(".besides").wait_for(state="detached")
    text = card.inner_text()
    assert "counterpoise train" in text
    for shared in ("Commit", "Machine", "Software", "Split, sha256", "Protocol"):
        assert shared in text, "what all runs of the experiment share is taken in"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_background(visit: Any, scheme: str) -> None:
    """WCAG AA for body text: a contrast of at least 4.5, measured on what is painted."""
    page = visit(color_scheme=scheme)
    ink, paper = page.evaluate(
        """() => [getComputedStyle(document.body).color,
                  getComputedStyle(document.body).backgroundColor]"""
    )
    assert contrast(ink, paper) >= 4.5
    assert luminance(paper) > 0.5 if scheme == "light" else luminance(paper) < 0.2


def luminance(colour: str) -> float:
    """Relative luminance of ``rgb(r, g, b)``, after WCAG 2."""
    parts = [float(x) / 255 for x in re.findall(r"[\d.]+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_tables_are_tables(visit: Any) -> None:
    page = visit()
    tables = page.locator("table")
    assert tables.count() > 20
    missing = page.evaluate(
        """() => [...document.querySelectorAll('table')].filter(
               t => !(t.caption || t.getAttribute('aria-label') || t.getAttribute('aria-labelledby'))
                    || !t.querySelector('th[scope]')).length"""
    )
    assert missing == 0


def test_identifiers_are_unique_and_links_lead_somewhere(visit: Any) -> None:
    page = visit()
    twice, broken = page.evaluate(
        """() => {
          const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
          const links = [...document.querySelectorAll('a[href^="#"]')]
            .map(a => decodeURIComponent(a.getAttribute('href').slice(1)));
          const known = new Set(ids);
          return [ids.length - known.size, links.filter(l => l && !known.has(l))];
        }"""
    )
    assert twice == 0
    assert broken == []


def test_figures_are_drawn_and_described(visit: Any) -> None:
    page = visit()
    for figure in ("figure-3a", "figure-3b", "figure-3c", "figure-4a", "figure-4b", "task-weights"):
        box = page.locator(f'[id="figure:rotograd:{figure}"]')
        svg = box.locator("svg[role=img]")
        assert svg.count() == 1
        assert svg.locator("> title").text_content()
        assert "stand-in" in box.inner_text().lower() or figure.startswith("figure-3")


def test_it_prints_as_a_document(visit: Any) -> None:
    """Text on every page, what is folded away for comfort unfolded, what is for screens gone."""
    page = visit(color_scheme="dark")
    document = PdfReader(io.BytesIO(page.pdf(prefer_css_page_size=True)))
    pages = list(document.pages)
    assert 20 < len(pages) < 150
    # Reading a page takes a tenth of a second: the first, the last and every fourth.
    texts = [" ".join(sheet.extract_text().split()) for sheet in (*pages[:-1:4], pages[-1])]
    assert sum(len(text) < 40 for text in texts) <= 0.1 * len(texts)
    whole = " ".join(texts)
    for words in ("Do the printed numbers hold?", "does not hold", "stand-in data", "Evidence"):
        assert words in whole
    for words in ("Skip to content", "Which word", "Find rows", "sha256"):
        assert words not in whole
    assert f"{len(pages)} of {len(pages)}" in texts[-1], "pages are numbered"
    colours = page.evaluate(
        """() => { const rules = getComputedStyle(document.documentElement);
                   return rules.getPropertyValue('--paper').trim(); }"""
    )
    assert colours  # of the screen; print takes its own
    page.emulate_media(media="print", color_scheme="dark")
    assert luminance(page.evaluate("getComputedStyle(document.body).backgroundColor")) > 0.9


# Looking for something -----------------------------------------------------------------------------


def texts_of(page: Any, table: str, column: int) -> list[str]:
    return page.evaluate(
        """([id, column]) => [...document.querySelectorAll(`[id="${id}"] table.results tbody`)]
             .filter(b => !b.hidden && b.querySelector('tr.ours'))
             .map(b => [...b.querySelector('tr.ours').cells].slice(-column)[0].textContent.trim())""",
        [table, column],
    )


def number(text: str) -> float:
    found = re.search(r"[-−]?\d+(\.\d+)?", text)
    assert found is not None
    return float(found[0].replace("−", "-"))


def test_tables_sort_by_a_column_and_go_back(visit: Any) -> None:
    page = visit()
    table = "table:rotograd:table-3"
    before = texts_of(page, table, 2)
    head = page.locator(f'[id="{table}"] th[scope="col"]', has_text="Density")
    button = head.locator("button")
    button.focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    up = texts_of(page, table, 2)
    assert up != before and [number(t) for t in up] == sorted(number(t) for t in before)
    button.click()
    assert head.get_attribute("aria-sort") == "descending"
    assert [number(t) for t in texts_of(page, table, 2)] == [number(t) for t in up][::-1]
    button.click()
    assert head.get_attribute("aria-sort") is None
    assert texts_of(page, table, 2) == before


def a_table(browser: Any, kind: str, heads: str, rows: str) -> Any:
    """A page with nothing but a table, and the report's script and style."""
    page = browser.new_page()
    page.set_content(
        f"""<details class="toc"></details><div class="scroll"><table class="{kind}">
        <thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"""
    )
    page.add_script_tag(content=(ASSETS / "report.js").read_text(encoding="utf-8"))
    page.add_style_tag(content=(ASSETS / "report.css").read_text(encoding="utf-8"))
    return page


def test_a_printed_table_has_its_headings_on_every_page(browser: Any) -> None:
    rows = "".join(f"<tr><th>row {n}</th><td>{n}</td></tr>" for n in range(200))
    page = a_table(browser, "data sortable", "<th>what</th><th>score</th>", rows)
    sheets = PdfReader(io.BytesIO(page.pdf(prefer_css_page_size=True))).pages
    assert len(sheets) > 1
    assert all("score" in sheet.extract_text() for sheet in sheets)
    page.close()


@pytest.mark.parametrize("kind", ["data", "results", "results compact"])
def test_names_of_rows_stay_in_view_on_a_telephone(browser: Any, kind: str) -> None:
    cells = "".join(f"<td>{n}.000</td>" for n in range(40))
    page = a_table(browser, kind, "<th></th>" + "<th>score</th>" * 40,
                   f'<tr><th class="name" scope="row">DB-MTL</th>{cells}</tr>')  # fmt: skip
    page.set_viewport_size({"width": 390, "height": 800})
    name = page.locator("tbody th")
    before = name.bounding_box()
    page.locator(".scroll").evaluate("e => e.scrollTo(400, 0)")
    assert page.locator("td").first.bounding_box()["x"] < 0
    assert name.bounding_box() == before and before["width"] < 390 / 2
    page.close()


def test_cells_with_a_unit_of_their_own_sort_by_what_they_say(browser: Any) -> None:
    """A duration in hours is longer than one in seconds, whatever its number."""
    spans = (("2.1 h", 7560.0), ("85.0 s", 85.0), ("3.5 min", 210.0))
    rows = "".join(f'<tr><td data-sort="{key}">{text}</td></tr>' for text, key in spans)
    page = a_table(browser, "sortable", "<th>time</th>", rows)
    page.locator("th button").click()
    assert page.locator("tbody td").all_inner_texts() == ["85.0 s", "3.5 min", "2.1 h"]
    page.close()


def test_numbers_sort_as_numbers_however_they_are_written(browser: Any) -> None:
    about = "\N{ALMOST EQUAL TO}"
    texts = [f"{about}0.3", "not measured", "1204", f"{about}\N{MINUS SIGN}0.5", ".1031"]
    rows = "".join(f"<tr><td>{text}</td></tr>" for text in texts)
    page = a_table(browser, "sortable", "<th>score</th>", rows)
    page.locator("th button").click()
    assert page.locator("tbody td").all_inner_texts() == [texts[n] for n in (3, 4, 0, 2, 1)]
    page.close()


def test_a_table_of_one_row_keeps_its_lines_in_their_order(browser: Any) -> None:
    """The paper's number, ours and their difference are one line of the table."""
    lines = (("printed", 3), ("ours", 1), ("difference", -2))
    rows = "".join(f'<tr class="{kind}"><th>{kind}</th><td>{n}</td></tr>' for kind, n in lines)
    page = a_table(browser, "results sortable", "<th>row</th><th>score</th>", rows)
    for head in page.locator("th button").all():
        head.click()
        assert page.locator("tbody th").all_inner_texts() == [kind for kind, _ in lines]
    page.close()


def test_the_ledger_is_filtered_by_paper_and_word(visit: Any) -> None:
    page = visit("#question:claims")
    rows = page.locator("table.ledger tbody tr")
    everything = rows.count()
    assert everything >= 40
    page.locator('.pick select[data-column="word"]').select_option("does not hold")
    page.locator('.pick select[data-column="paper"]').select_option("Thoracic classification")
    shown = page.locator("table.ledger tbody tr:visible")
    assert 0 < shown.count() < everything
    for row in shown.all_inner_texts():
        assert "does not hold" in row and "Thoracic classification" in row
    assert page.locator(".pick output").inner_text() == f"{shown.count()} of {everything}"


def test_the_ledger_fits_a_telephone(visit: Any) -> None:
    page = visit("#question:claims", viewport={"width": 390, "height": 800})
    ledger = page.locator(".scroll:has(table.ledger)")
    assert ledger.evaluate("e => e.scrollWidth <= e.clientWidth")
    page.locator('.pick select[data-column="word"]').select_option("does not hold")
    shown = page.locator("table.ledger tbody tr:visible")
    assert 0 < shown.count() < page.locator("table.ledger tbody tr").count()


def test_rows_of_long_tables_can_be_found(visit: Any) -> None:
    page = visit()
    box = page.locator('[id="table:rotograd:chest-scores"]')
    lines = box.locator("table.results tbody:not(.group)")
    everything = lines.count()
    box.locator("input[type=search]").fill("uniform")
    shown = [lines.nth(i) for i in range(everything) if lines.nth(i).is_visible()]
    assert 0 < len(shown) < everything
    assert all("uniform" in line.inner_text() for line in shown)


def test_every_question_has_its_views(visit: Any) -> None:
    page = visit()
    asked = page.locator('nav a[href^="#question:"]')
    assert asked.count() == 7
    views = page.evaluate(
        """() => [...document.querySelectorAll('figure[id^="view:"]')].map(v => [
             v.querySelector('svg[role=img] > title')?.textContent,
             v.querySelector('svg[role=img] > desc')?.textContent,
             v.querySelectorAll('details table caption').length])"""
    )
    assert len(views) >= 20
    assert all(title and description and tables == 1 for title, description, tables in views)
    page.locator('nav a[href="#question:gains"]').click()
    assert page.locator('[id="question:gains"]').is_visible()


def test_the_contents_mark_what_is_in_view(visit: Any) -> None:
    """Down and up again, within the questions as well."""
    page = visit(viewport={"width": 1280, "height": 800})
    for name in ("question:claims", "question:gains", "paper:rotograd", "question:gains"):
        page.evaluate("name => document.getElementById(name).scrollIntoView()", name)
        page.evaluate("scrollBy(0, 200)")
        page.wait_for_selector(f'nav a[href="#{name}"][aria-current]')
        assert page.locator("nav [aria-current]").count() == 1


def test_the_tab_key_stops_at_what_scrolls_and_not_at_what_fits(visit: Any) -> None:
    page = visit(viewport={"width": 1280, "height": 800})
    page.wait_for_function(
        "() => !document.querySelector('#overview .scroll').hasAttribute('tabindex')"
    )
    table = page.locator('[id="table:rotograd:table-3"] .scroll').first
    page.set_viewport_size({"width": 375, "height": 800})
    page.wait_for_function("e => e.tabIndex === 0", arg=table.element_handle())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#main"


# Without scripts, for everyone -----------------------------------------------------------------------


def test_without_scripts_nothing_that_needs_them_shows(visit: Any) -> None:
    page = visit(java_script_enabled=False)
    for useless in (".pick", ".filter", "button", "input"):
        assert page.locator(f"{useless}:visible").count() == 0
    assert page.locator("table.ledger tbody tr:visible").count() >= 40
    assert page.locator("figure svg:visible").count() > 20
    page.locator("details.run summary").first.click()
    assert "counterpoise train" in page.locator("details.run").first.inner_text()


@pytest.mark.parametrize(
    ("scheme", "rules"),
    [
        ("light", {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}),
        ("dark", {"type": "rule", "values": ["color-contrast"]}),  # all that a scheme changes
    ],
)
def test_axe_finds_no_serious_violation(visit: Any, scheme: str, rules: dict[str, Any]) -> None:
    """On the first three of each kind: the others are made by the same lines, and take minutes."""
    page = visit(color_scheme=scheme)
    page.evaluate(
        """() => {
          const first = (within, kind) => [...within.querySelectorAll(`:scope > ${kind}`)]
            .slice(3).forEach(e => e.remove());
          document.querySelectorAll('tbody').forEach(body => first(body, 'tr'));
          document.querySelectorAll('table').forEach(table => first(table, 'tbody'));
          document.querySelectorAll('section, section .screen').forEach(part => {
            for (const kind of ['.claim', '.card', '.table', 'details.box', 'figure']) first(part, kind);
          });
          for (const part of document.querySelectorAll('main > section, .card'))
            [...part.querySelectorAll('details')].slice(0, 1).forEach(d => { d.open = true; });
        }"""
    )
    options = {"runOnly": rules, "resultTypes": ["violations"]}
    found = Axe().run(page, options=options).response["violations"]
    serious = [v for v in found if v["impact"] in ("serious", "critical")]
    assert [(v["id"], [n["html"][:200] for n in v["nodes"]][:3]) for v in serious] == []
