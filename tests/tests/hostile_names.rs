//! Names that are made to do harm, in real files, processes and cgroups: all outputs stay what they are.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::Write,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    process::Command,
};

use flate2::read::GzDecoder;
use quick_xml::{Reader, events::Event};
use tempfile::TempDir;
use tests::{Browser, Folded, Recorded, Workload, record, require_root, timesink, tool};

/// What breaks a line, a terminal, XML, HTML and UTF-8, and hides or turns round what follows.
const HARM: &[u8] = b"a;b\n\r\t\x1b[2J\x07<script>alert(1)</script>\"'&]]></svg>--\xe2\x80\xae\
                      \xe2\x80\x8b\xf3\xa0\x80\xa1\xff\xc2\x9b31m 7";

/// A program one of whose functions is called [`HARM`], another by a megabyte of escapes, and whose own
/// name and folder are called [`HARM`] too.
struct Hostile {
    _folder: TempDir,
    program: PathBuf,
}

impl Hostile {
    fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let harm = OsStr::from_bytes(HARM).to_owned();
        // A name of a file has no `/`.
        let name: Vec<u8> = HARM.iter().copied().filter(|&byte| byte != b'/').collect();
        let name = OsString::from_vec(name);
        let inside = folder.path().join(&name);
        fs::create_dir(&inside).unwrap();
        let program = inside.join(&name);
        let shares = Workload::compile("shares");
        let long = folder.path().join("long");
        let mut names = File::create(&long).unwrap();
        writeln!(names, "leaf_two {}", "\x1b[31m".repeat(1 << 18)).unwrap();
        let mut renamed = OsString::from("leaf_one=");
        renamed.push(harm);
        let mut objcopy = Command::new(tool("objcopy"));
        objcopy.arg("--redefine-sym").arg(renamed);
        objcopy.arg("--redefine-syms").arg(&long);
        let status = objcopy.arg(shares.path()).arg(&program).status().unwrap();
        assert!(status.success());
        Self {
            _folder: folder,
            program,
        }
    }
}

fn assert_harmless(text: &str) {
    let harmful = |c: char| {
        let is_hidden = matches!(c, '\u{200b}' | '\u{202e}' | '\u{e0000}'..='\u{e007f}');
        (c.is_control() && c != '\n') || is_hidden
    };
    let harm = text.find(harmful);
    assert!(
        harm.is_none(),
        "{:?}",
        &text[harm.unwrap().saturating_sub(80)..]
    );
}

/// Checks that a flame graph is XML of which each tag is closed, with the viewer's script alone, as a
/// parser and as a browser see it.
fn assert_well_formed(svg: &Path) {
    let text = fs::read_to_string(svg).unwrap();
    let mut reader = Reader::from_str(&text);
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
    let browser = Browser::start();
    browser.open(svg);
    let scripts = "return document.getElementsByTagName('script').length";
    assert_eq!(browser.run(scripts), 1);
    assert_eq!(browser.errors(), Vec::<serde_json::Value>::new());
}

/// Checks that all strings of a pprof file are harmless; a protobuf string that is not UTF-8 is refused.
fn assert_harmless_pprof(recorded: &Recorded) {
    let _whole = recorded.pprof();
    let file = File::open(recorded.pprof_path()).unwrap();
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut GzDecoder::new(file), &mut bytes).unwrap();
    let message = <pprof::protos::Profile as pprof::protos::Message>::decode(&*bytes).unwrap();
    for text in &message.string_table {
        assert_harmless(text);
        assert!(!text.contains('\n') && text.len() < 5000, "{text:?}");
    }
}

/// A program whose functions, file and folder have hostile names is recorded into outputs that are all
/// well-formed, with its samples where they belong, and says nothing that a terminal would obey.
#[test]
fn symbols_and_files_do_no_harm() {
    if !require_root() {
        return;
    }
    let hostile = Hostile::make();
    let command = [hostile.program.as_os_str(), OsStr::new("1")];
    let recorded = record(&["-F", "999", "--threads"], &command);
    assert_harmless(&recorded.run.stderr);
    let text = recorded.folded_text();
    assert_harmless(&text);
    let folded = Folded::parse(&text);
    let leaves = folded.leaves();
    let of = |begin: &str| -> u64 {
        let named = leaves.iter().filter(|(name, _)| name.starts_with(begin));
        named.map(|(_, samples)| samples).sum()
    };
    let share = |samples: u64| samples as f64 / folded.total() as f64;
    assert!((share(of("a:b\u{fffd}")) - 0.5).abs() < 0.1, "{leaves:?}");
    assert!(
        (share(of("\u{fffd}[31m\u{fffd}[31m")) - 0.3).abs() < 0.1,
        "{leaves:?}"
    );
    assert_well_formed(&recorded.svg_path());
    assert_harmless_pprof(&recorded);
}

/// What the doctor tells of a process with hostile names is harmless, as text and as JSON.
#[test]
fn the_doctor_does_no_harm() {
    if !require_root() {
        return;
    }
    let hostile = Hostile::make();
    let mut running = Command::new(&hostile.program).arg("600").spawn().unwrap();
    let pid = running.id().to_string();
    let runs = [
        timesink(&["doctor", "--pid", &pid]),
        timesink(&["doctor", "--pid", &pid, "--json"]),
    ];
    running.kill().unwrap();
    running.wait().unwrap();
    for run in &runs {
        assert!(run.status.success(), "{}", run.stderr);
        assert!(run.stdout.contains("/a;b"), "{}", run.stdout);
        assert_harmless(&run.stdout);
    }
    let json: serde_json::Value = serde_json::from_str(&runs[1].stdout).unwrap();
    assert!(json.is_array());
}

/// Errors and messages that name a hostile file or cgroup stay on one line.
#[test]
fn errors_do_no_harm() {
    if !require_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let harm = OsStr::from_bytes(HARM);
    let mut absent = folder.path().join("no").into_os_string();
    absent.push(harm);
    let run = |options: &[&OsStr]| {
        let mut command = Command::new(tests::binary());
        command.arg("record").args(options);
        let output = command.current_dir(folder.path()).output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    let word = OsStr::new;
    let mut svg = absent.clone();
    svg.push(".svg");
    for stderr in [
        run(&[word("-a"), word("-d"), word("100ms"), word("-o"), &absent]),
        run(&[word("-a"), word("-d"), word("100ms"), word("-o"), &svg]),
        run(&[word("--cgroup"), &absent]),
        run(&[word("--"), &absent]),
    ] {
        assert_harmless(&stderr);
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.starts_with("timesink: failed to "), "{stderr}");
    }
}
