//! The formats of one recording, opened by the programs that they are for.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::ffi::OsStrExt,
    path::Path,
    process::Command,
};

use quick_xml::{Reader, events::Event};
use tests::{Browser, Folded, Recorded, Workload, record, require_root, tool};

/// Runs `go tool pprof` on a file, with nothing looked up outside of it.
fn go_pprof(file: &Path, options: &[&str]) -> String {
    let output = Command::new(tool("go"))
        .args(["tool", "pprof", "-symbolize=none", "-sample_index=samples"])
        .args(options)
        .arg(file)
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{options:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// A row of `-top`: `flat flat% sum% cum cum% name`, as name, flat and cum.
fn row(line: &str) -> Option<(&str, u64, u64)> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let (flat, cum) = (columns.first()?.parse().ok()?, columns.get(3)?.parse());
    columns[1].strip_suffix('%')?;
    let (_, name) = line.rsplit_once("%  ")?;
    Some((name, flat, cum.ok()?))
}

/// Both have the same total, the same functions at the top, and the same share for each of them.
fn assert_same(top: &str, folded: &Folded) {
    let total = format!("Total samples = {} ", folded.total());
    assert!(top.contains(&total), "no `{total}`: {top}");
    let rows: Vec<_> = top.lines().filter_map(row).collect();
    let leaves = folded.leaves();
    for &(name, flat, cum) in &rows {
        let inside = folded.filter(|stack| stack.has(name) || stack.has(&format!("{name}_[k]")));
        assert_eq!(leaves.get(name).copied().unwrap_or(0), flat, "{name}");
        assert_eq!(inside.total(), cum, "{name}");
    }
    let mut hottest: Vec<u64> = leaves.into_values().collect();
    hottest.sort_unstable_by(|a, b| b.cmp(a));
    hottest.truncate(rows.len());
    let flat: Vec<u64> = rows.iter().map(|&(_, flat, _)| flat).collect();
    assert_eq!(flat, hottest, "{top}");
    assert_eq!(rows.len(), 5, "{top}");
}

/// Go's pprof shows what the folded stacks hold, and draws it.
#[test]
fn go_reads_what_the_folded_stacks_hold() {
    if !require_root() {
        return;
    }
    let shares = Workload::compile("shares");
    let recorded = record(&["-F", "999"], &[shares.path(), "2"]);
    let pprof = recorded.pprof_path();
    let top = go_pprof(&pprof, &["-top", "-nodecount=5", "-nodefraction=0"]);
    assert_same(&top, &recorded.folded());

    let _dot = tool("dot");
    let drawn = pprof.with_extension("svg");
    go_pprof(&pprof, &["-svg", "-output", drawn.to_str().unwrap()]);
    let drawn = fs::read_to_string(drawn).unwrap();
    assert!(drawn.contains("leaf_one") && drawn.trim_end().ends_with("</svg>"));
}

/// The rectangle of a function in the flame graph.
fn rectangle(function: &str) -> String {
    format!(
        "//*[local-name()='g'][starts-with(*[local-name()='title'], '{function} (')]\
         /*[local-name()='rect']"
    )
}

/// The width of a function's rectangle, as the page has it at this moment.
fn width(browser: &Browser, function: &str) -> String {
    let script = format!(
        "return document.evaluate(\"{}\", document, null, 9, null).singleNodeValue\
         .getAttribute('width')",
        rectangle(function)
    );
    browser.run(&script).as_str().unwrap().to_owned()
}

/// What the page says of the last search, in percent.
fn matched(browser: &Browser, term: &str) -> f64 {
    let script = format!(
        "search('{term}');\
         const matched = document.getElementById('matched');\
         return matched.classList.contains('hide') ? '' : matched.textContent"
    );
    let text = browser.run(&script);
    let percent = text.as_str().unwrap().strip_prefix("Matched: ").unwrap();
    percent.strip_suffix('%').unwrap().parse().unwrap()
}

/// In a browser the flame graph loads without an error, finds what is searched for, and a click
/// zooms in and out.
#[test]
fn a_browser_shows_searches_and_zooms() {
    if !require_root() {
        return;
    }
    let shares = Workload::compile("shares");
    let recorded = record(&["-F", "999"], &[shares.path(), "2"]);
    let folded = recorded.folded();
    let browser = Browser::start();
    browser.open(&recorded.svg_path());

    let shown = matched(&browser, "^leaf_two ");
    let share = folded.share("leaf_two") * 100.0;
    assert!((shown - share).abs() < 0.06, "{shown} of {share}");

    let before = width(&browser, "leaf_two");
    browser.click(&rectangle("leaf_two"));
    let zoomed: f64 = width(&browser, "leaf_two")
        .trim_end_matches('%')
        .parse()
        .unwrap();
    assert!((zoomed - 100.0).abs() < 0.01, "{before} to {zoomed}");
    browser.click("//*[@id='unzoom']");
    assert_eq!(width(&browser, "leaf_two"), before);
    assert_eq!(browser.errors(), Vec::<serde_json::Value>::new());
}

/// Checks that a text is XML of which each tag is closed, with the viewer's script and no other.
fn assert_well_formed(svg: &str) {
    let mut reader = Reader::from_str(svg);
    reader.config_mut().enable_all_checks(true);
    let (mut depth, mut scripts) = (0, 0);
    loop {
        match reader.read_event().unwrap() {
            Event::Start(tag) => {
                depth += 1;
                scripts += usize::from(tag.name().as_ref() == b"script");
            }
            Event::End(_) => depth -= 1,
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!((depth, scripts), (0, 1));
}

/// Checks that each stack is one line that ends in a count and has no control character.
fn assert_well_lined(recorded: &Recorded) {
    let text = recorded.folded_text();
    for line in text.lines() {
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    let folded = Folded::parse(&text);
    let hostile = folded.filter(|stack| stack.has("evil:<script>alert(1)</script> &_7"));
    for process in [
        "a:b",
        "new\u{fffd}line",
        "<script>x",
        "</svg>",
        "\u{fffd}[31mred",
    ] {
        assert!(
            hostile.of_process(process).total() > 50,
            "{process}: {text}"
        );
    }
    // The process, the thread below it, and the chain.
    for stack in &hostile.0 {
        assert_eq!(stack.frames[1..3], ["_start", "main"], "{stack:?}");
    }
    assert!(hostile.total() * 100 >= folded.total() * 95, "{text}");
}

/// Names of processes, threads and functions that are made to do harm break no line and no XML, and
/// run nothing in a browser.
#[test]
fn hostile_names_do_no_harm() {
    if !require_root() {
        return;
    }
    let names = Workload::compile("names");
    let recorded = record(&["-F", "999", "--threads"], &[names.path()]);
    assert_well_lined(&recorded);
    assert_well_formed(&fs::read_to_string(recorded.svg_path()).unwrap());
    let top = go_pprof(&recorded.pprof_path(), &["-top", "-nodecount=5"]);
    assert!(top.contains("evil;<script>alert(1)</script> & 7"), "{top}");

    let browser = Browser::start();
    browser.open(&recorded.svg_path());
    assert!(matched(&browser, "evil") > 95.0);
    let scripts = "return document.getElementsByTagName('script').length";
    assert_eq!(browser.run(scripts), 1);
    assert_eq!(browser.errors(), Vec::<serde_json::Value>::new());
}

/// A command whose name, folder and arguments are made to do harm breaks no line and no XML, sends no
/// control character to the terminal, and is there with its samples.
#[test]
fn a_hostile_command_does_no_harm() {
    if !require_root() {
        return;
    }
    let bytes = b"x;<\n\r\x1b[2J\x07\xff\xc2\x9b\"'&]]>--";
    let hostile = OsStr::from_bytes(bytes);
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join(hostile);
    fs::create_dir(&inside).unwrap();
    let program = inside.join(hostile);
    // Copied by another process: see the tests of the doctor.
    let busy = Workload::compile("busy");
    let mut copy = Command::new("cp");
    let copied = copy.arg(busy.path()).arg(&program).status().unwrap();
    assert!(copied.success());
    // The program takes the number that its last argument begins with.
    let mut seconds = OsString::from("1");
    seconds.push(hostile);
    let command = [program.into_os_string(), "1".into(), seconds];
    let recorded = record(&["-F", "999"], &command);

    let harmful = |c: char| c.is_control() && c != '\n';
    for text in [&recorded.folded_text(), &recorded.run.stderr] {
        assert!(!text.contains(harmful), "{text:?}");
    }
    assert_well_formed(&fs::read_to_string(recorded.svg_path()).unwrap());
    let own = recorded.folded().filter(|stack| stack.has("work"));
    assert!(own.total() > 500, "{own:?}");
    assert!(own.0.iter().all(|stack| stack.process.starts_with("x:<")));
    let top = go_pprof(&recorded.pprof_path(), &["-top", "-nodecount=5"]);
    assert!(top.contains("work"), "{top}");
}
