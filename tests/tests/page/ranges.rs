//! Ranges of time: chosen, compared and kept.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use tests::{Folded, Window};

use super::{BEGIN, PATIENCE, Page, windows};

/// Dragging over the timeline chooses a range, of which the flame graph then is; the browser's way back
/// leads to the one before.
#[test]
fn a_range_is_brushed_on_the_timeline() {
    let page = Page::open(windows(), "");
    page.drag("#timeline .u-over", &[(0.0, 0.5), (0.1, 0.5), (0.25, 0.5)]);
    let (from, to) = page.range("range");
    assert!(
        (0..500).contains(&from) && (19_000..21_000).contains(&to),
        "{from} {to}"
    );
    let names: Vec<String> = page.functions().into_iter().map(|(_, name)| name).collect();
    assert!(
        names.contains(&"hot".to_owned()) && !names.contains(&"cold".to_owned()),
        "{names:?}"
    );
    let _ = page.value("history.back()");
    page.until("!location.hash.includes('range=')");
    page.settle();
    assert!(page.functions().iter().any(|(_, name)| name == "cold"));
    page.close();
}

/// Dragging over the heat map chooses from one slice to another, to the tenth of a second.
#[test]
fn slices_are_brushed_on_the_heat_map() {
    let range = format!("#range={}-{}", BEGIN + 10_000, BEGIN + 20_000);
    let page = Page::open(
        windows(),
        &format!("{range}&heat={}-{}", BEGIN + 10_000, BEGIN + 30_000),
    );
    // Twenty columns of ten cells: from the third cell of the second column to the sixth of the fourth.
    let width = page
        .value("document.getElementById('heat').width / devicePixelRatio")
        .as_f64()
        .unwrap();
    let cell = |column: f64, row: f64| ((column + 0.5) * 24.0 / width, (row + 0.5) / 10.0);
    page.drag("#heat", &[cell(1.0, 2.0), cell(2.0, 0.0), cell(3.0, 5.0)]);
    assert_eq!(page.range("range"), (11_200, 13_600));
    assert!(
        page.text("#flame-title").contains("in 2.40 s"),
        "{}",
        page.text("#flame-title")
    );
    page.browser.picture("page-heat.png");
    page.close();
}

/// Two ranges beside each other show what changed: in the table, in the account and in colours.
#[test]
fn ranges_are_compared() {
    let page = Page::open(
        windows(),
        &format!("#range={}-{}", BEGIN + 30_000, BEGIN + 60_000),
    );
    page.click("#compare");
    assert_eq!(page.range("base"), (0, 30_000));
    let functions = page.functions();
    assert!(
        functions.contains(&("+66.67".to_owned(), "cold".to_owned())),
        "{functions:?}"
    );
    assert!(
        functions.contains(&("−66.67".to_owned(), "hot".to_owned())),
        "{functions:?}"
    );
    assert!(
        page.text("#ledger-summary")
            .contains("before: 3000 expected")
    );
    let red = page.browser.run(
        "const canvas = document.getElementById('flame-canvas');\
         const at = (part, row) => [...canvas.getContext('2d').getImageData(canvas.width * part, row * 19 + 3, 1, 1).data];\
         return [at(0.1, 4), at(0.7, 4)]",
    );
    let color = |at: usize, part: usize| red[at][part].as_i64().unwrap();
    assert!(color(0, 0) > color(0, 2) + 50, "cold came: {red}");
    assert!(color(1, 2) > color(1, 0) + 50, "hot went: {red}");
    page.browser.picture("page-compare.png");
    page.click("#brush-base");
    page.drag("#timeline .u-over", &[(0.5, 0.5), (0.6, 0.5), (0.7, 0.5)]);
    assert_eq!(page.range("range"), (30_000, 60_000));
    assert!(page.range("base").0 > 38_000);
    page.close();
}

/// Of two ranges, what may be chance is marked as such.
#[test]
fn chance_is_marked() {
    let functions = [
        ("grown", [10, 15]),
        ("shrunk", [10, 5]),
        ("one", [10, 10]),
        ("two", [9, 9]),
        ("three", [8, 8]),
        ("four", [7, 7]),
        ("five", [6, 6]),
    ];
    let mut windows = [0, 1].map(|at| Window::new(BEGIN + at * 10_000, 10));
    for (at, window) in windows.iter_mut().enumerate() {
        for (function, hundreds) in functions {
            window.add(("app", 10), 50, &["main", function], hundreds[at] * 1000, 0);
        }
        window.add(("app", 10), 50, &["main", "rare"], 10, 0);
    }
    let range = format!("#range={}-{}", BEGIN + 10_000, BEGIN + 20_000);
    let page = Page::open(windows.into(), &range);
    page.click("#compare");
    page.browser.picture("page-chance.png");
    let verdicts = page.value(
        "Object.fromEntries([...document.querySelectorAll('#top tbody tr')].map((row) => \
         [row.querySelector('button').innerText, row.cells[1].innerText]))",
    );
    let expected = [
        ("grown", "grew"),
        ("shrunk", "shrank"),
        ("one", "noise"),
        ("five", "noise"),
        ("rare", "small"),
    ];
    for (function, verdict) in expected {
        assert_eq!(verdicts[function], verdict, "{verdicts}");
    }
    page.close();
}

/// What is shown can be kept as a file.
#[test]
fn a_range_is_downloaded() {
    let page = Page::open(windows(), &format!("#range={BEGIN}-{}", BEGIN + 10_000));
    let folder = tempfile::tempdir().unwrap();
    page.browser.download_to(folder.path());
    page.click("[data-format=folded]");
    let file = folder
        .path()
        .join(format!("timesink-cpu-{BEGIN}-{}.folded", BEGIN + 10_000));
    let begin = Instant::now();
    while !file.exists() {
        assert!(
            begin.elapsed() < PATIENCE,
            "{:?}",
            fs::read_dir(folder.path()).unwrap().collect::<Vec<_>>()
        );
        thread::sleep(Duration::from_millis(20));
    }
    let folded = Folded::parse(&fs::read_to_string(file).unwrap());
    assert_eq!(folded.total(), 9_000_000_000);
    page.close();
}
