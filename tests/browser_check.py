"""report.html in a real browser: `make browser`. Needs playwright and a Chromium on the path.

Not collected by the plain `pytest`: without a browser these fail, they are never skipped.
"""

import shutil

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright
from runs import FAILING, KNOWN, PASSING, RUN, measured, write
from user import ROOT

from mace_conformance.findings.compare import compare_runs
from mace_conformance.findings.compare_pages import write_pages
from mace_conformance.findings.history import add_runs
from mace_conformance.findings.history_page import write_history
from mace_conformance.findings.html import html_text

EXAMPLES = sorted((ROOT / "reports" / "example").glob("*.html"))
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
HOSTILE = measured(
    structure="</script><img src=x onerror=window.hit=1>",
    verdict="fail",
    message="<b>bold</b>\u2028</script><script>window.hit=1</script>",
    first="products.0, l 1 even, error grew 3e+04 x: layout",
)
COURSE = tuple((float(i), 1e-5 * i) for i in range(9))
MOVED = measured("dynamics.nve.drift", codes=("drift",), trace=COURSE)
TIMED = [
    measured("latency.ratio.single", f"water{n}", atoms=n,
             timing={"median_ms": [n / 10, n / 5], "forces_error": 1e-6})
    for n in (24, 192)
]  # fmt: skip
BLOCKS = (("embedding", 0.0), ("products.0", 1e-3))
PARTED = measured("precision.policy.forces", verdict="fail", ratio=3.0, blocks=BLOCKS,
                  first="products.0, l 1 even, error grew 3e+04 x: layout")  # fmt: skip
EVERYTHING = [PASSING, FAILING, KNOWN, MOVED, PARTED, *TIMED]
MANY = [measured("equivariance.turns.energy", f"s{i}", ratio=i / 400) for i in range(300)]


@pytest.fixture(scope="module")
def browser():
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    assert path, f"install one of {', '.join(CHROMIUM)}"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser, tmp_path):
    """Opens a page from disk with the network cut; nothing may be logged or asked for."""
    heard = []

    def visit(measurements, scheme="light", text="", *, checked=False, **fields):
        path = tmp_path / "report é 报告.html"
        run = RUN.__class__(**{name: getattr(RUN, name) for name in RUN.__struct_fields__} | fields)
        path.write_text(text or html_text(run, measurements), encoding="utf-8")
        context = browser.new_context(color_scheme=scheme, offline=True, bypass_csp=checked)
        page = context.new_page()
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on(
            "request",
            lambda request: heard.append(request.url) if request.url.startswith("http") else None,
        )
        page.goto(path.as_uri())
        return page

    yield visit
    assert heard == []


@pytest.fixture
def opened(visit):
    """Opens a page that lies on disk."""

    def opened(path, scheme="light", *, checked=False):
        page = visit([], scheme, text=path.read_text(encoding="utf-8"), checked=checked)
        assert page.locator("h1").count() == 1
        return page

    return opened


def rows(page):
    return page.locator("#rows tbody tr:not(.detail)").count()


def test_the_first_screen_says_verdict_reasons_and_stack(visit):
    page = visit([PASSING, FAILING, KNOWN], finished="x")
    assert "FAIL" in page.locator("h1").inner_text()
    first = page.locator("#verdict").inner_text()
    for text in (
        "1 case fails",
        "3 of 3 planned",
        "What fails",
        "not run: plan",
        "torch 2.13.0",
        "A CPU",
    ):
        assert text in first
    assert page.locator("#verdict").bounding_box()["y"] < 200


def test_search_menus_and_marks_filter_the_cases(visit):
    page = visit([PASSING, FAILING, KNOWN, *MANY])
    assert rows(page) == 100
    page.click("#more")
    assert rows(page) == 303
    page.fill("#find", "structure:slab FP32")
    assert rows(page) == 1
    assert page.locator("#count").inner_text() == "1 of 303"
    page.fill("#find", "quantity:precision.stress")
    assert rows(page) == 1
    page.click("#clear")
    page.select_option("select[name=verdict]", "known")
    assert rows(page) == 1
    assert "verdict=known" in page.url
    page.click("#clear")
    page.locator("#limits .suite text.row").first.click()
    assert page.input_value("#find") == "quantity:equivariance.turns.energy"
    assert page.locator("#count").inner_text() == "300 of 303"


def test_a_link_with_filters_opens_what_it_names(visit):
    page = visit([PASSING, FAILING, KNOWN])
    page.goto(page.url.split("#")[0] + "#?find=slab&verdict=fail")
    assert page.locator("#count").inner_text() == "1 of 3"


def test_a_row_opens_by_keyboard_and_shows_its_message_and_command(visit):
    page = visit([PASSING, FAILING])
    page.locator("#rows .open").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#rows .open").first.get_attribute("aria-expanded") == "true"
    text = page.locator("#rows .detail").inner_text()
    assert "13.7 x over" in text
    assert (
        "pytest suites/precision --mace-plan gate --mace-seed 1 --mace-case slab-off-fp32-cueq"
        in text
    )
    page.keyboard.press("Enter")
    assert page.locator("#rows .detail").count() == 0
    page.keyboard.press("/")
    page.keyboard.type("water")
    assert page.locator("#count").inner_text() == "1 of 2"
    page.keyboard.press("Escape")
    assert page.locator("#count").inner_text() == "2 of 2"


def test_columns_sort_and_say_so(visit):
    page = visit([PASSING, FAILING, *MANY])
    head = page.locator("#rows th", has_text="ratio")
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert "slab" in page.locator("#rows tbody tr").first.inner_text()
    head.locator("button").click()
    assert "s0" in page.locator("#rows tbody tr").first.inner_text()


def test_nothing_in_a_record_becomes_part_of_the_page(visit):
    page = visit([HOSTILE], plan="<i>gate</i>", problems=("<img src=x onerror=window.hit=1>",))
    page.locator("#rows .open").first.click()
    assert page.evaluate("window.hit") is None
    assert page.locator("#rows img, #failing b, #problems img").count() == 0
    assert "<b>bold</b>" in page.locator("#rows .detail").inner_text()
    assert "products.0" in page.locator("#growth").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_themes(visit, scheme):
    page = visit([PASSING, FAILING, KNOWN], scheme=scheme)
    assert page.locator("html").get_attribute("data-theme") == scheme
    assert least_contrast(page) >= 4.5
    page.click("#theme")
    assert page.locator("html").get_attribute("data-theme") != scheme
    assert least_contrast(page) >= 4.5


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_the_report(visit, scheme):
    page = visit(EVERYTHING, scheme, checked=True, problems=("one",))
    page.locator("#rows .open").first.click()
    for summary in page.locator("details:not([open]) > summary").all():
        summary.click()
    for anchor in ("failing", "growth", "drift", "known", "provisional", "speed", "dynamics"):
        assert page.locator(f"#{anchor}").count() == 1
    assert violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_comparison_and_history(opened, tmp_path, scheme):
    runs = [
        write(tmp_path / f"r{i}", [PASSING, measured(structure="slab", ratio=0.1 + 2 * i)],
              id=f"r{i}", started=f"2026-1{i}-01")
        for i in (0, 1)
    ]  # fmt: skip
    pages = [write_pages(compare_runs(*runs), tmp_path / "out")]
    add_runs(runs, tmp_path / "history.jsonl")
    pages.append(write_history(tmp_path / "history.jsonl", tmp_path / "out"))
    for path in pages:
        assert violations(opened(path, scheme, checked=True)) == []


def test_a_quantity_shows_its_cases_by_keyboard(visit):
    page = visit([PASSING, FAILING, KNOWN])
    page.locator("#quantities summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")  # the table's own scroll bar
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.input_value("#find") == "quantity:precision.forces policy:fp32 backend:cueq"
    assert page.locator("#count").inner_text() == "2 of 3"
    assert page.evaluate("document.activeElement.id") == "find"


def test_a_mark_shows_the_cases_of_its_cell(visit):
    page = visit([PASSING, FAILING, KNOWN])
    page.locator("#limits figure use[data-cell]").first.dispatch_event("click")
    assert page.input_value("#find").startswith("quantity:precision.")
    assert page.locator("#count").inner_text() in {"1 of 3", "2 of 3"}


def test_an_infinite_value_is_shown_as_one(visit):
    page = visit([measured(verdict="fail", value=None, ratio=None, message="inf"), *MANY])
    assert page.locator("#rows tbody tr").first.locator("td.n").all_inner_texts() == [
        "inf", "4.0e-6", "inf",
    ]  # fmt: skip


def test_every_control_has_a_name_and_every_picture_a_description(visit):
    page = visit([PASSING, FAILING, KNOWN])
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, svg[role=img]")].filter(
        (e) => !(e.textContent.trim() && e.tagName === "BUTTON")
          && !e.ariaLabel && !e.labels?.length).length"""
    )
    assert unnamed == 0
    levels = page.evaluate("() => [...document.querySelectorAll('h1, h2')].map((h) => h.tagName)")
    assert levels.count("H1") == 1


def test_printing_is_light_and_without_controls(visit):
    page = visit([PASSING, FAILING], scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("#filters").is_visible()
    assert len(page.pdf()) > 1000


def test_the_page_is_usable_on_a_narrow_screen(visit):
    page = visit([PASSING, FAILING, KNOWN])
    page.set_viewport_size({"width": 400, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_a_comparison_is_searched_by_what_changed(opened, tmp_path):
    gone = measured("precision.stress")
    worse = measured(structure="slab", ratio=9.0, verdict="fail", message="9 x over")
    a = write(tmp_path / "a", [PASSING, measured(structure="slab"), gone], id="a")
    b = write(tmp_path / "b", [PASSING, worse], id="b")
    page = opened(write_pages(compare_runs(a, b), tmp_path / "out"))
    page.select_option("select[name=change]", "worse")
    assert page.locator("#count").inner_text() == "1 of 3"
    page.locator("#rows .open").click()
    assert "9 x over" in page.locator("#rows .detail").inner_text()
    page.click("#clear")
    page.locator("#ratios use[data-find]").first.dispatch_event("click")
    assert "change:" in page.input_value("#find")
    assert least_contrast(page) >= 4.5


def test_a_history_shows_its_series(opened, tmp_path):
    store = tmp_path / "history.jsonl"
    runs = [
        write(tmp_path / f"r{i}", [measured(ratio=0.1 * i)], id=f"r{i}", started=f"2026-1{i}-01")
        for i in (0, 1, 2)
    ]
    add_runs(runs, store)
    page = opened(write_history(store, tmp_path / "out"), "dark")
    assert page.locator("svg.picture use").count() == 3
    assert rows(page) == 1
    assert least_contrast(page) >= 4.5


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_open_in_both_themes(opened, path, scheme):
    page = opened(path, scheme)
    assert rows(page) > 10
    assert least_contrast(page) >= 4.5
    page.locator("#rows .open").first.click()
    assert page.locator("#rows .detail").count() == 1


def violations(page):
    """What axe-core finds wrong, by rule."""
    found = Axe().run(page).response["violations"]
    return [(each["id"], [node["html"][:120] for node in each["nodes"]]) for each in found]


def least_contrast(page):
    """The least WCAG 2.1 contrast of any text with the ground that it lies on."""
    return page.evaluate(
        """() => {
        const parse = (text) => text.match(/[\\d.]+/g).map(Number);
        const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) =>
          v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
          .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
        const ground = (e) => {
          for (; e; e = e.parentElement) {
            const found = parse(getComputedStyle(e).backgroundColor);
            if (found.length < 4 || found[3] > 0) return found;
          }
          return [255, 255, 255];
        };
        const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        let least = 21;
        while (walker.nextNode()) {
          const e = walker.currentNode.parentElement;
          if (!walker.currentNode.data.trim() || !e.checkVisibility() || e.closest("svg")) continue;
          const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))].sort();
          least = Math.min(least, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
        }
        return least;
        }"""
    )
