//! Comparisons of profiles: what is called a change, of what, and how it is shown.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails with it")]

mod common;

use common::{frame, labels, stack};
use output::{
    Against, Diff, DiffError, DiffOptions, FrameKind, FunctionChange, MIN_SHARE_PERCENT, Meta,
    Period, Profile, SampleType, Unit, Verdict, decode,
};
use quick_xml::{Reader, events::Event};

const TYPICAL: DiffOptions = DiffOptions {
    sample_type: None,
    against: Against::Typical,
    min_share_percent: MIN_SHARE_PERCENT,
};

/// Shares of functions in percent.
const PARTS: [(&str, f64); 8] = [
    ("parse", 25.0),
    ("checksum", 20.0),
    ("hash", 15.0),
    ("shift", 11.0),
    ("mix", 10.0),
    ("follow", 9.0),
    ("grow", 7.0),
    ("average", 3.0),
];

/// Numbers that look random and are the same each time (SplitMix64), as normal ones by Box and Muller.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Samples where so many are expected: a Poisson number, which is normal where it is large, of a
    /// time that itself varies by `spread` from run to run.
    fn samples(&mut self, expected: f64, spread: f64) -> u64 {
        let expected = expected * (spread * self.normal()).exp();
        (expected + expected.sqrt() * self.normal())
            .round()
            .max(0.0) as u64
    }
}

fn folded(lines: &[(&str, u64)]) -> Profile {
    let lines: Vec<String> = lines
        .iter()
        .map(|(stack, value)| format!("{stack} {value}\n"))
        .collect();
    decode(lines.concat().as_bytes()).unwrap()
}

fn of<'a>(diff: &'a Diff, name: &str) -> &'a FunctionChange {
    let mut functions = diff.functions().iter();
    functions.find(|of| of.name == name).unwrap()
}

fn changed(diff: &Diff) -> Vec<&str> {
    let functions = diff.functions().iter();
    let changed = functions.filter(|of| of.verdict.is_significant());
    changed.map(|of| of.name.as_str()).collect()
}

/// A recording of the eight parts, of which `parse` takes so many times as long.
fn run(random: &mut Random, times: f64, spread: f64) -> Profile {
    let speed = 1.0 + 0.1 * random.uniform();
    let lines = PARTS.map(|(name, percent)| {
        let times = if name == "parse" { times } else { 1.0 };
        let expected = 1000.0 * percent * times * speed;
        (format!("app;main;{name}"), random.samples(expected, spread))
    });
    folded(
        &lines
            .each_ref()
            .map(|(stack, value)| (stack.as_str(), *value)),
    )
}

/// Of 400 comparisons of runs of the same program at different speeds at most 4 find anything, and 48
/// where the times of functions themselves vary from run to run, by 1 % or 5 %; and where they do not
/// vary, 370 find one function that takes 10 % longer and has 25,000 samples, and nothing else.
#[test]
fn changes_are_told_from_chance() {
    let mut random = Random(6);
    for spread in [0.0, 0.01, 0.05] {
        let wrong = (0..400).filter(|_| {
            let sides = [run(&mut random, 1.0, spread), run(&mut random, 1.0, spread)];
            !changed(&Diff::new(sides, &TYPICAL).unwrap()).is_empty()
        });
        // The spread of eight functions is an estimate of few numbers.
        let most = if spread > 0.0 { 48 } else { 4 };
        let wrong = wrong.count();
        assert!(wrong <= most, "{spread}: {wrong}");
    }
    let right = (0..400).filter(|_| {
        let sides = [run(&mut random, 1.0, 0.0), run(&mut random, 1.1, 0.0)];
        changed(&Diff::new(sides, &TYPICAL).unwrap()) == ["parse"]
    });
    let right = right.count();
    assert!(right >= 370, "{right}");
}

/// A machine that is slower in all is no change of any function, unless times are compared as they are.
#[test]
fn what_all_functions_share_is_typical() {
    let lines = |times: u64| PARTS.map(|(name, percent)| (name, percent as u64 * times));
    let diff = |options: &DiffOptions| {
        Diff::new([folded(&lines(100)), folded(&lines(150))], options).unwrap()
    };
    let typical = diff(&TYPICAL);
    assert!((typical.level() - 1.5).abs() < 0.01, "{}", typical.level());
    assert_eq!(changed(&typical), [""; 0]);
    let times = |against| DiffOptions { against, ..TYPICAL };
    assert_eq!(
        changed(&diff(&times(Against::Times(1.0)))).len(),
        PARTS.len()
    );
    assert_eq!(changed(&diff(&times(Against::Times(1.5)))).len(), 0);
}

/// A function that is new, gone, too small or no function is called that.
#[test]
fn verdicts_tell_what_is_judged() {
    let common = [("a;x", 1000), ("a;y", 2000), ("a;z", 3000), ("a;w", 1500)];
    let with = |more: &[(&'static str, u64)]| folded(&[&common[..], more].concat());
    let before = with(&[("a;old", 500), ("a;tiny", 5), ("a;[lost: ring full]", 10)]);
    let after = with(&[("a;new", 500), ("a;tiny", 30), ("a;[lost: ring full]", 900)]);
    let diff = Diff::new([before, after], &TYPICAL).unwrap();
    let verdicts =
        ["x", "new", "old", "tiny", "[lost: ring full]"].map(|name| of(&diff, name).verdict);
    let expected = [
        Verdict::Noise,
        Verdict::Grew,
        Verdict::Shrank,
        Verdict::Small,
        Verdict::Missing,
    ];
    assert_eq!(verdicts, expected);
    assert_eq!(of(&diff, "new").own.percent, f64::INFINITY);
    assert_eq!(of(&diff, "old").own.percent, -100.0);
    let table = diff.table(100);
    for (name, word) in [("new", "new"), ("old", "gone")] {
        let line = table
            .lines()
            .find(|line| line.ends_with(&format!("  {name}")))
            .unwrap();
        assert!(line.trim_start().starts_with(word), "{table}");
    }
    assert!(
        table.contains("2 functions changed by more than chance"),
        "{table}"
    );
}

/// Totals count a recursive function once, and grow with what a function calls, which is no verdict.
#[test]
fn callers_have_the_time_of_what_they_call() {
    let stacks = |hot| {
        [
            ("p;main;f;g;f", hot),
            ("p;main;k", 4000),
            ("p;main;l", 3000),
            ("p;main;m", 3000),
        ]
    };
    let diff = Diff::new([folded(&stacks(2000)), folded(&stacks(4000))], &TYPICAL).unwrap();
    assert_eq!(changed(&diff), ["f"]);
    assert_eq!(of(&diff, "f").total.amounts, [2000, 4000]);
    assert_eq!(of(&diff, "main").total.amounts, [12000, 14000]);
    assert!((of(&diff, "main").total.percent - 100.0 / 6.0).abs() < 0.1);
}

/// A limit holds for what grew by more, and not by chance.
#[test]
fn limits_hold_for_what_grew() {
    let stacks = |hot, cold| {
        [
            ("p;hot", hot),
            ("p;cold", cold),
            ("p;x", 5000),
            ("p;y", 6000),
            ("p;z", 7000),
        ]
    };
    let diff = Diff::new(
        [folded(&stacks(5000, 100)), folded(&stacks(6000, 115))],
        &TYPICAL,
    )
    .unwrap();
    let grown = |percent, wanted: &str| -> Vec<String> {
        let grown = diff.grown(percent, |name| wanted == "*" || name == wanted);
        grown.into_iter().map(|of| of.name.clone()).collect()
    };
    assert_eq!(grown(5.0, "*"), ["hot"]);
    assert_eq!(grown(25.0, "*"), [""; 0]);
    assert_eq!(grown(5.0, "cold"), [""; 0]);
    assert_eq!(grown(5.0, "nothing"), [""; 0]);
}

/// Recordings at different rates are compared by time, and the error is that of their samples.
#[test]
fn rates_may_differ() {
    let recording = |hz: u64, period| {
        let types = vec![
            SampleType::new("samples", Unit::Count),
            SampleType::new("cpu", Unit::Nanoseconds),
        ];
        let mut profile = Profile::new(Meta::default(), types.clone());
        profile.period = Some(Period {
            of: types[1].clone(),
            value: period,
        });
        let labels = labels(&mut profile, 1, "app");
        for (name, percent) in PARTS {
            let frame = frame(&mut profile, None, 1, FrameKind::User, &[(name, 0)]);
            let stack = stack(&mut profile, &[frame]);
            let samples = percent as u64 * hz;
            profile.add(stack, labels, &[samples, samples * period]);
        }
        profile
    };
    let slow = || recording(10, 10_000_000);
    let fast = recording(100, 1_000_000);
    let diff = Diff::new([slow(), fast], &TYPICAL).unwrap();
    assert!((diff.level() - 1.0).abs() < 0.01, "{}", diff.level());
    assert_eq!(changed(&diff), [""; 0]);
    let error = of(&diff, "parse").own.error_percent;
    let error_of_slow = of(&Diff::new([slow(), slow()], &TYPICAL).unwrap(), "parse")
        .own
        .error_percent;
    assert!(
        error < error_of_slow && error > error_of_slow / 2.0,
        "{error} {error_of_slow}"
    );
}

/// Times of waits are as certain as there were waits, not nanoseconds.
#[test]
fn times_of_waits_are_judged_by_their_number() {
    let recording = |waits: u64, each_ns: u64| {
        let types = vec![
            SampleType::new("blocks", Unit::Count),
            SampleType::new("off_cpu", Unit::Nanoseconds),
        ];
        let mut profile = Profile::new(Meta::default(), types);
        let labels = labels(&mut profile, 1, "app");
        for name in ["read", "poll", "futex", "sleep"] {
            let frame = frame(&mut profile, None, 1, FrameKind::User, &[(name, 0)]);
            let stack = stack(&mut profile, &[frame]);
            let each_ns = if name == "read" { each_ns } else { 1_000_000 };
            profile.add(stack, labels, &[waits, waits * each_ns]);
        }
        profile
    };
    let compare = |waits| {
        Diff::new(
            [recording(waits, 1_000_000), recording(waits, 1_200_000)],
            &TYPICAL,
        )
        .unwrap()
    };
    assert_eq!(changed(&compare(50)), [""; 0]);
    assert_eq!(changed(&compare(50_000)), ["read"]);
}

/// What cannot be compared is told with the side and the types that there are.
#[test]
fn what_is_not_there_is_told() {
    let one = || folded(&[("a;b", 1)]);
    let options = DiffOptions {
        sample_type: Some("cpu".to_owned()),
        ..TYPICAL
    };
    let error = Diff::new([one(), one()], &options).unwrap_err().to_string();
    assert_eq!(
        error,
        "failed to compare `cpu`: the first recording has no such sample type, but `samples`"
    );
    let error = Diff::new([one(), folded(&[])], &TYPICAL)
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "failed to compare `samples`: the second recording has no samples of it"
    );
    let memory = || {
        let mut profile =
            Profile::new(Meta::default(), vec![SampleType::new("space", Unit::Bytes)]);
        let at = profile.synthetic("f");
        let at = profile.intern_stack(None, at);
        let labels = labels(&mut profile, 1, "app");
        profile.add(at, labels, &[1]);
        profile
    };
    assert!(matches!(
        Diff::new([memory(), memory()], &TYPICAL),
        Err(DiffError::Uncounted { .. })
    ));
}

/// The picture is XML with each function of the second recording; what grew is red, what shrank blue, and
/// what is as before white. Both values of all stacks are in the folded form.
#[test]
fn the_picture_is_coloured_by_change() {
    let stacks = |hot, cold| {
        [
            ("p;<hot>", hot),
            ("p;cold", cold),
            ("p;x", 5000),
            ("p;y", 6000),
            ("p;z", 7000),
        ]
    };
    let diff = Diff::new(
        [folded(&stacks(1000, 4000)), folded(&stacks(4000, 1000))],
        &TYPICAL,
    )
    .unwrap();
    let svg = String::from_utf8(diff.svg().unwrap()).unwrap();
    let mut reader = Reader::from_str(&svg);
    while !matches!(reader.read_event().unwrap(), Event::Eof) {}
    let color = |name: &str| {
        let after = svg.split_once(&format!("<title>{name} (")).unwrap().1;
        let fill = after.split_once("fill=\"").unwrap().1;
        fill.split_once('"').unwrap().0.to_owned()
    };
    assert_eq!(color("&lt;hot&gt;"), "rgb(255,100,100)");
    assert_eq!(color("cold"), "rgb(100,100,255)");
    assert_eq!(color("x"), "rgb(250,250,250)");
    assert_eq!(
        diff.folded(),
        "p;<hot> 1000 4000\np;cold 4000 1000\np;x 5000 5000\np;y 6000 6000\np;z 7000 7000\n"
    );
}
