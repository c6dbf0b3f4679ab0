//! The flame graph: one SVG file that zooms and searches in a browser, drawn by `inferno`.
//!
//! It shows the stacks of the [folded](super::folded) format, with kernel functions in orange, inlined
//! ones in aqua, C++ and Rust in yellow and the rest in red and green.
//! What was recorded, and what was lost, stands below the title. Frames of less than about half a pixel
//! are left out and count for their callers; folded stacks have them.

use std::fmt::Write as _;
use std::io::{self, Write};

use inferno::flamegraph::color::{MultiPalette, Palette};
use inferno::flamegraph::{self, Options, TextTruncateDirection};

use super::folded::Tree;
use super::{Encode, EncodeError, Format};
use crate::clean::shorten;
use crate::duration::human_duration;
use crate::profile::{Profile, Unit};

/// Characters of a command in the line below the title, which has room for about 160.
const COMMAND_CHARS: usize = 60;

/// The least width of a frame, in percent of the picture: half of one of 1,200 pixels. Of a compiler's
/// stacks, which are deep and nearly all different, six frames in seven are narrower, and a browser
/// would have to hold them all.
const LEAST_PERCENT: f64 = 0.04;

/// About what a picture has beside its frames, and for a frame: room that is there from the beginning
/// need not be copied into.
const BASE_BYTES: usize = 32 << 10;
const FRAME_BYTES: usize = 320;

/// Writes a flame graph; one that says so when there are no samples.
#[derive(Clone, Copy, Debug)]
pub struct Svg;

impl Encode for Svg {
    fn encode(&self, profile: &Profile, to: &mut dyn Write) -> Result<(), EncodeError> {
        let tree = Tree::new(profile);
        let total = tree.total();
        let written = if total == 0 {
            write_empty(profile, &subtitle(profile, total), to)
        } else {
            let svg = draw(profile, &tree, total)?;
            to.write_all(&svg)
        };
        written.map_err(Format::Svg.write_error())
    }
}

fn draw(profile: &Profile, tree: &Tree, total: u64) -> Result<Vec<u8>, EncodeError> {
    let mut options = Options::default();
    options.colors = Palette::Multi(MultiPalette::Java);
    let scale = scale(profile.folded_unit(), total);
    options.count_name = scale.name.to_owned();
    options.factor = 1.0 / scale.divisor;
    options.deterministic = true;
    options.subtitle = Some(subtitle(profile, total));
    options.text_truncate_direction = TextTruncateDirection::Right;
    options.title = profile.meta().title.clone();
    // The stacks are in the order that merges all equal frames, and only a flame chart takes lines
    // as they come. It turns them round to do so.
    options.flame_chart = true;
    options.min_width = LEAST_PERCENT;
    // What is too narrow to be drawn need not be put into words and read again.
    let least = (options.min_width / 100.0 * total as f64).ceil() as u64;
    let mut text = String::new();
    // Writing to a string cannot fail.
    tree.lines(least, |stack, value| {
        let _ = writeln!(text, "{stack} {value}");
    });

    let frames = tree.wider_than(least);
    let mut svg = Vec::with_capacity(BASE_BYTES + frames * FRAME_BYTES);
    let lines = text.lines().rev();
    flamegraph::from_lines(&mut options, lines, &mut svg)
        .map_err(|source| EncodeError::Draw { source })?;
    Ok(svg)
}

/// Command, event, duration, host, sum of all samples, and the loss if there is one.
fn subtitle(profile: &Profile, total: u64) -> String {
    let meta = profile.meta();
    let duration_nanos = u64::try_from(meta.duration_nanos).unwrap_or(0);
    let sum = match profile.folded_unit() {
        Unit::Nanoseconds => format!("{} in all", human_duration(total)),
        unit => format!("{total} {}", count_name(unit)),
    };
    let parts = [
        shorten(&meta.command, COMMAND_CHARS).into_owned(),
        meta.event.clone(),
        human_duration(duration_nanos),
        meta.host.clone(),
        sum,
        profile.ledger.loss().unwrap_or_default(),
    ];
    let known: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    known.join(" · ")
}

fn count_name(unit: Unit) -> &'static str {
    match unit {
        Unit::Count => "samples",
        Unit::Nanoseconds => "ns",
        Unit::Bytes => "bytes",
    }
}

/// What the numbers of a picture count.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Scale {
    name: &'static str,
    divisor: f64,
}

/// Times are shown in a unit in which the whole has five digits or more, the others as they are.
fn scale(unit: Unit, total: u64) -> Scale {
    let (name, divisor) = match (unit, total) {
        (Unit::Nanoseconds, 10_000_000_000..) => ("ms", 1e6),
        (Unit::Nanoseconds, 10_000_000..) => ("us", 1e3),
        _ => (count_name(unit), 1.0),
    };
    Scale { name, divisor }
}

/// A picture without frames, which `inferno` refuses to draw.
fn write_empty(profile: &Profile, subtitle: &str, to: &mut dyn Write) -> io::Result<()> {
    let title = escape(&profile.meta().title);
    let subtitle = escape(subtitle);
    write!(
        to,
        r#"<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<svg version="1.1" width="1200" height="120" viewBox="0 0 1200 120" xmlns="http://www.w3.org/2000/svg">
<rect width="100%" height="100%" fill="rgb(248,248,248)"/>
<g font-family="monospace" font-size="12" text-anchor="middle">
<text x="50%" y="24" font-size="17">{title}</text>
<text x="50%" y="48">{subtitle}</text>
<text x="50%" y="84">There were no samples.</text>
</g>
</svg>
"#
    )
}

/// `text` as XML text. Cleaned text holds no character that XML cannot express.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Labels, Meta, SampleType};

    /// A frame of half a pixel is drawn, and one of less counts for its caller.
    #[test]
    fn what_is_too_narrow_is_left_out() {
        let types = vec![SampleType::new("samples", Unit::Count)];
        let mut profile = Profile::new(Meta::default(), types);
        let process = profile.intern_string("p");
        let labels = Labels {
            pid: 1,
            tid: 1,
            process,
            thread: process,
            cgroup: None,
            slice: None,
            wait: None,
        };
        for (leaf, value) in [("wide", 9_993), ("just", 4), ("narrow", 3)] {
            let frames = ["main", leaf].map(|name| profile.synthetic(name));
            let stack = profile.intern_frames(&frames).unwrap();
            profile.add(stack, labels, &[value]);
        }
        let mut svg = Vec::new();
        Svg.encode(&profile, &mut svg).unwrap();
        let svg = String::from_utf8(svg).unwrap();
        for title in ["main (10,000 samples", "wide (9,993", "just (4"] {
            assert!(svg.contains(&format!("<title>{title}")), "{title}");
        }
        assert!(!svg.contains("narrow"));
    }

    #[test]
    fn times_have_a_readable_unit() {
        // The unit follows the whole picture; counts have none to choose.
        let name = |unit, total| scale(unit, total).name;
        assert_eq!(name(Unit::Nanoseconds, 9_999_999), "ns");
        assert_eq!(name(Unit::Nanoseconds, 9_999_999_999), "us");
        assert_eq!(name(Unit::Nanoseconds, 10_000_000_000), "ms");
        assert_eq!(name(Unit::Count, u64::MAX), "samples");
    }
}
