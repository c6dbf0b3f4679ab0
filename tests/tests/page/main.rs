//! The page in a real browser, as people use it.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

mod ranges;

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tests::{Browser, Served, Window};

/// Nothing on the page takes this long.
const PATIENCE: Duration = Duration::from_secs(120);

/// When the first window begins, in milliseconds from the Unix epoch.
const BEGIN: i64 = 1_764_100_000_000;

/// Keys, as the protocol of WebDriver numbers them.
const ENTER: char = '\u{E007}';
const SHIFT: char = '\u{E008}';
const ESCAPE: char = '\u{E00C}';
const LEFT: char = '\u{E012}';
const UP: char = '\u{E013}';
const RIGHT: char = '\u{E014}';
const DOWN: char = '\u{E015}';

/// Names that are made to do harm to a page.
const HOSTILE: [&str; 5] = [
    "<img src=x onerror=\"document.title='owned'\">",
    "</script><script>document.title='owned'</script>",
    "\"'`;&amp;&#60;",
    "javascript:document.title='owned'",
    "\u{202e}desrever \u{5e9}\u{5dc}\u{5d5}\u{5dd}",
];

/// A minute of `app`, which runs `hot` in the first half and `cold` in the second, with less of `other`,
/// and nothing from 60 s to 70 s; then ten more seconds.
fn windows() -> Vec<Window> {
    let begin = |at: i64| BEGIN + at * 10_000;
    let mut windows: Vec<Window> = [0, 1, 2, 3, 4, 5, 7]
        .map(|at| Window::new(begin(at), 10))
        .into();
    for (at, window) in windows.iter_mut().enumerate() {
        let leaf = if at < 3 { "hot" } else { "cold" };
        for slice in 0..100 {
            window.add(("app", 10), slice, &["main", "run", leaf], 60, 0);
            window.add(("app", 10), slice, &["main", "run", leaf, "k_read"], 20, 15);
            window.add(("other", 20), slice, &["main", "wait"], 10, 90);
        }
    }
    windows
}

/// A page of a store in a browser.
struct Page {
    served: Served,
    browser: Browser,
}

impl Page {
    fn open(windows: Vec<Window>, hash: &str) -> Self {
        let served = Served::start(windows.into_iter().map(Window::profile));
        let browser = Browser::start();
        browser.resize(1400, 1000);
        let page = Self { served, browser };
        page.visit(hash);
        page
    }

    fn visit(&self, hash: &str) {
        // Another part behind the `#` alone would load nothing.
        self.browser.visit("about:blank");
        self.browser
            .visit(&format!("http://{}/{hash}", self.served.address()));
        self.settle();
    }

    /// Waits until the page has all that it asked for.
    fn settle(&self) {
        self.until("document.documentElement.dataset.state === 'shown'");
    }

    /// Waits until an expression is true.
    fn until(&self, expression: &str) {
        let begin = Instant::now();
        while self.value(expression) != true {
            let now = self.text("body");
            assert!(begin.elapsed() < PATIENCE, "never `{expression}`: {now}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn value(&self, expression: &str) -> Value {
        self.browser.run(&format!("return {expression}"))
    }

    fn text(&self, selector: &str) -> String {
        let text = self.value(&format!("document.querySelector({selector:?}).innerText"));
        text.as_str().unwrap().to_owned()
    }

    /// A parameter of the state in the address.
    fn state(&self, name: &str) -> Option<String> {
        let value = self.value(&format!(
            "new URLSearchParams(location.hash.slice(1)).get({name:?})"
        ));
        value.as_str().map(str::to_owned)
    }

    /// A range of the state, in milliseconds from the first window's beginning.
    fn range(&self, name: &str) -> (i64, i64) {
        let text = self.state(name).unwrap();
        let (from, to) = text.split_once('-').unwrap();
        let [from, to] = [from, to].map(|at| at.parse::<i64>().unwrap() - BEGIN);
        (from, to)
    }

    /// A place on an element, by parts of its width and height, once it is in view.
    fn place(&self, selector: &str, x: f64, y: f64) -> (f64, f64) {
        let script = format!(
            "const element = document.querySelector({selector:?});\
             element.scrollIntoView({{ block: 'center' }});\
             const box = element.getBoundingClientRect();\
             return [box.left + box.width * {x}, box.top + box.height * {y}]"
        );
        let place = self.browser.run(&script);
        (place[0].as_f64().unwrap(), place[1].as_f64().unwrap())
    }

    fn drag(&self, selector: &str, places: &[(f64, f64)]) {
        let places: Vec<_> = places
            .iter()
            .map(|&(x, y)| self.place(selector, x, y))
            .collect();
        self.browser.drag(&places);
        self.settle();
    }

    fn click(&self, selector: &str) {
        self.drag(selector, &[(0.5, 0.5)]);
    }

    /// A click on the flame graph: how far across, and in which row from the top, from 0.
    fn click_frame(&self, x: f64, row: f64) {
        let (left, top) = self.place("#flame-canvas", x, 0.0);
        self.browser.drag(&[(left, top + row * 19.0 + 9.0)]);
        self.settle();
    }

    fn keys(&self, held: &[char], keys: &[char]) {
        self.browser.keys(held, keys);
        self.settle();
    }

    fn focus(&self, selector: &str) {
        let _ = self.value(&format!("document.querySelector({selector:?}).focus()"));
    }

    fn type_into(&self, selector: &str, text: &str) {
        self.focus(selector);
        let keys: Vec<char> = text.chars().collect();
        self.keys(&[], &keys);
    }

    /// The functions of the table, the first column of each row and the name.
    fn functions(&self) -> Vec<(String, String)> {
        let rows = self.value(
            "[...document.querySelectorAll('#top tbody tr')].map((row) => \
             [row.cells[0].innerText, row.querySelector('button').innerText])",
        );
        serde_json::from_value(rows).unwrap()
    }

    /// The page asked nobody but its own server, and the browser found nothing wrong.
    fn close(self) {
        let own = format!("http://{}/", self.served.address());
        let asked = self.browser.asked();
        assert!(
            asked
                .iter()
                .any(|url| url.starts_with(&format!("{own}api/profile"))),
            "{asked:?}"
        );
        let foreign: Vec<&String> = asked.iter().filter(|url| !url.starts_with(&own)).collect();
        assert!(foreign.is_empty(), "{foreign:?}");
        let errors = self.browser.errors();
        assert!(errors.is_empty(), "{errors:?}");
    }
}

/// The page opens on what there is: the timeline, the heat map of the busiest process, the flame graph, the
/// functions, and the account of what was lost.
#[test]
fn it_opens_on_what_there_is() {
    let page = Page::open(windows(), "");
    assert!(
        page.text("#kept").contains("7 windows"),
        "{}",
        page.text("#kept")
    );
    assert_eq!(page.range("view"), (0, 80_000));
    assert_eq!(page.state("type").as_deref(), Some("cpu"));
    let legend = page.text("#legend");
    assert!(
        legend.contains("app") && legend.contains("56.0 s"),
        "{legend}"
    );
    assert_eq!(
        page.value("document.getElementById('heat-process').value"),
        "app"
    );
    assert!(page.text("#flame-title").starts_with("cpu: 1.05 min"));
    assert!(
        page.text("#ledger-summary")
            .contains("7000 expected, 6930 got, 70 lost (ring full 70)")
    );
    let functions = page.functions();
    assert_eq!(functions[0], ("38.10 %".to_owned(), "cold".to_owned()));
    page.browser.picture("page-1400-light.png");
    page.browser.prefer("dark");
    page.settle();
    page.browser.picture("page-1400-dark.png");
    page.close();
}

/// A click on a frame zooms to it, and the button and the frame of all lead back out.
#[test]
fn a_click_zooms() {
    let page = Page::open(windows(), "");
    page.click_frame(0.2, 2.0);
    let zoom = || page.value("new URLSearchParams(location.hash.slice(1)).getAll('zoom')");
    assert_eq!(zoom(), json!(["app", "main"]));
    page.click("#back");
    assert_eq!(zoom(), json!(["app"]));
    page.click_frame(0.5, 0.0);
    assert_eq!(zoom(), json!([]));
    page.close();
}

/// A search tells which part of what is shown matches, by text, by expression, and by text where it is no
/// expression.
#[test]
fn a_search_has_a_share() {
    let page = Page::open(windows(), "");
    for (search, share) in [
        ("hot", "38.10 %"),
        ("^(hot|cold)$", "88.89 %"),
        ("WAIT", "0.00 %"),
        ("ma(", "0.00 %"),
    ] {
        let _ = page.value("document.getElementById('search').value = ''");
        page.type_into("#search", search);
        assert_eq!(
            page.text("#matched"),
            format!("{share} matches"),
            "{search}"
        );
    }
    page.close();
}

/// A link shows another reader what its writer saw.
#[test]
fn a_link_shows_the_same() {
    let page = Page::open(windows(), "");
    page.drag("#timeline .u-over", &[(0.1, 0.5), (0.2, 0.5), (0.3, 0.5)]);
    page.click_frame(0.2, 2.0);
    page.type_into("#search", "hot");
    page.click("#turn");
    let seen = |page: &Page| {
        let parts = [
            "#flame-title",
            "#matched",
            "#legend",
            "#top",
            "#kept",
            "#ledger-summary",
        ];
        (
            parts.map(|part| page.text(part)),
            page.value("location.hash"),
        )
    };
    let first = seen(&page);
    let hash = first.1.as_str().unwrap().to_owned();
    page.visit(&hash);
    assert_eq!(seen(&page), first);
    assert_eq!(
        page.value("document.getElementById('turn').ariaPressed"),
        "true"
    );
    page.close();
}

/// Filters leave what has the label, and can be taken back; a click on the list is one.
#[test]
fn labels_filter() {
    let page = Page::open(windows(), "");
    page.type_into("#filter-value", "other");
    page.keys(&[], &[ENTER]);
    assert_eq!(page.state("process").as_deref(), Some("other"));
    assert_eq!(
        page.functions()[0],
        ("100.00 %".to_owned(), "wait".to_owned())
    );
    page.click("#filters button");
    assert_eq!(page.state("process"), None);
    page.click("#legend li:nth-child(1) button");
    assert_eq!(page.state("process").as_deref(), Some("app"));
    page.close();
}

/// The other sample types are shown as well.
#[test]
fn waits_are_shown() {
    let page = Page::open(windows(), "#type=off_cpu");
    let functions = page.functions();
    assert_eq!(functions[0], ("85.71 %".to_owned(), "wait".to_owned()));
    assert!(
        page.text("#flame-title").starts_with("off cpu: 1.23 min"),
        "{}",
        page.text("#flame-title")
    );
    page.close();
}

/// All of it works by keyboard: `/` searches, arrows and Enter move and zoom in the flame graph and mark on
/// the heat map, Escape leads out.
#[test]
fn the_keyboard_does_all_of_it() {
    let page = Page::open(windows(), "");
    let _ = page.value("document.activeElement.blur()");
    page.keys(&[], &['/', 'h', 'o', 't']);
    assert_eq!(page.state("search").as_deref(), Some("hot"));
    page.keys(&[], &[ESCAPE]);
    assert_eq!(page.state("search"), None);
    assert_eq!(page.value("document.activeElement.id"), "flame");
    page.keys(&[], &[DOWN, DOWN, DOWN]);
    assert!(
        page.text("#flame-said").starts_with("run · "),
        "{}",
        page.text("#flame-said")
    );
    page.keys(&[], &[UP, RIGHT]);
    assert!(
        page.text("#flame-said").starts_with("main · "),
        "{}",
        page.text("#flame-said")
    );
    page.keys(&[], &[LEFT, ENTER]);
    let zoom = || page.value("new URLSearchParams(location.hash.slice(1)).getAll('zoom')");
    assert_eq!(zoom(), json!(["app", "main"]));
    page.keys(&[], &[ESCAPE]);
    assert_eq!(zoom(), json!([]));

    page.focus("#heat");
    page.keys(&[SHIFT], &[RIGHT, DOWN]);
    page.keys(&[], &[ENTER]);
    assert_eq!(page.range("range"), (0, 1200));

    page.focus("#copy");
    let reached: Vec<Value> = (0..40)
        .map(|_| {
            page.keys(&[], &['\u{E004}']);
            page.value("document.activeElement.id")
        })
        .collect();
    for id in [
        "type",
        "by",
        "filter-value",
        "heat-process",
        "heat",
        "range-from",
        "compare",
        "search",
        "flame",
    ] {
        assert!(reached.contains(&json!(id)), "{id}: {reached:?}");
    }
    page.close();
}

/// Names that are made to do harm are text, wherever they are shown.
#[test]
fn hostile_names_are_text() {
    let mut window = Window::new(BEGIN, 10);
    for (at, name) in HOSTILE.into_iter().enumerate() {
        let pid = u32::try_from(at).unwrap() + 1;
        window.add((name, pid), 5, &["main", name], 100, 10);
    }
    let page = Page::open(vec![window], "");
    let shown = [
        page.text("#legend"),
        page.text("#top"),
        page.text("#heat-process"),
    ];
    for name in &HOSTILE[..4] {
        assert!(
            shown.iter().all(|text| text.contains(name)),
            "{name}: {shown:?}"
        );
    }
    for text in &shown {
        assert!(
            !text.contains('\u{202e}') && text.contains("\u{fffd}desrever"),
            "{text}"
        );
    }
    let (x, y) = page.place("#flame-canvas", 0.1, 0.0);
    page.browser.drag(&[(x, y + 28.0)]);
    page.settle();
    page.click("#legend li:nth-child(1) button");
    assert!(HOSTILE.contains(&page.state("process").unwrap().as_str()));
    assert_eq!(page.functions().len(), 2);
    for (at, name) in HOSTILE[..4].iter().enumerate() {
        let filter = page.value(&format!(
            "'#' + new URLSearchParams([['process', {name:?}], ['search', {name:?}]])"
        ));
        page.visit(filter.as_str().unwrap());
        assert_eq!(page.functions().len(), 2, "{at}");
    }
    assert_eq!(page.value("document.title"), "timesink");
    assert_eq!(
        page.value("document.querySelectorAll('img, script').length"),
        2
    );
    page.browser.picture("page-hostile.png");
    page.close();
}

/// On a narrow screen nothing is wider than the screen, and a range can still be chosen.
#[test]
fn narrow_screens_work() {
    let page = Page::open(windows(), "");
    page.browser.resize(390, 844);
    page.visit("");
    for scheme in ["light", "dark"] {
        page.browser.prefer(scheme);
        page.settle();
        let wide = page.value("document.documentElement.scrollWidth");
        assert!(wide.as_i64().unwrap() <= 390, "{wide}");
        page.browser.picture(&format!("page-390-{scheme}.png"));
        let _ = page.place("#flame", 0.5, 0.5);
        page.browser
            .picture(&format!("page-390-{scheme}-flame.png"));
        let _ = page.value("scrollTo(0, 0)");
    }
    page.drag("#timeline .u-over", &[(0.0, 0.5), (0.1, 0.5), (0.25, 0.5)]);
    assert!(page.range("range").1 > 15_000);
    page.close();
}

/// A range without windows is said to have none, and is no failure; what is asked in vain is said too.
#[test]
fn nothing_is_said_to_be_nothing() {
    let page = Page::open(
        windows(),
        &format!("#range={}-{}", BEGIN + 60_000, BEGIN + 70_000),
    );
    assert_eq!(page.functions().len(), 0);
    assert!(
        page.text("#flame-title").contains("no window"),
        "{}",
        page.text("#flame-title")
    );
    let errors = page.browser.errors();
    assert!(
        errors
            .iter()
            .all(|error| error["message"].as_str().unwrap().contains("404")),
        "{errors:?}"
    );
}
