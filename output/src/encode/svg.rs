//! The flame graph: one SVG file that zooms and searches in a browser, drawn by `inferno`.
//!
//! It shows the stacks of the [folded](super::folded) format, with kernel functions in orange, inlined
//! ones in aqua, C++ and Rust in yellow and the rest in red and green.
//! What was recorded, and what was lost, stands below the title.

use std::io::{self, Write};

use inferno::flamegraph::color::{MultiPalette, Palette};
use inferno::flamegraph::{self, Options, TextTruncateDirection};

use super::{Encode, EncodeError, Format, folded};
use crate::clean::shorten;
use crate::profile::{Profile, Unit};

/// Characters of a command in the line below the title, which has room for about 160.
const COMMAND_CHARS: usize = 60;

/// Writes a flame graph; one that says so when there are no samples.
#[derive(Clone, Copy, Debug)]
pub struct Svg;

impl Encode for Svg {
    fn encode(&self, profile: &Profile, to: &mut dyn Write) -> Result<(), EncodeError> {
        let stacks = folded::stacks(profile);
        let total = stacks
            .iter()
            .fold(0, |sum: u64, (_, value)| sum.saturating_add(*value));
        let subtitle = subtitle(profile, total);
        let written = if stacks.is_empty() {
            write_empty(profile, &subtitle, to)
        } else {
            let svg = draw(profile, &stacks, subtitle)?;
            to.write_all(&svg)
        };
        written.map_err(Format::Svg.write_error())
    }
}

fn draw(
    profile: &Profile,
    stacks: &[(String, u64)],
    subtitle: String,
) -> Result<Vec<u8>, EncodeError> {
    let mut options = Options::default();
    options.colors = Palette::Multi(MultiPalette::Java);
    options.count_name = count_name(profile.folded_type().unit()).to_owned();
    options.deterministic = true;
    options.subtitle = Some(subtitle);
    options.text_truncate_direction = TextTruncateDirection::Right;
    options.title = profile.meta().title.clone();
    // The stacks are in the order that merges all equal frames, and only a flame chart takes lines
    // as they come. It turns them round to do so.
    options.flame_chart = true;
    let stacks = stacks.iter().rev();
    let lines: Vec<String> = stacks
        .map(|(text, value)| format!("{text} {value}"))
        .collect();

    let mut svg = Vec::new();
    flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), &mut svg)
        .map_err(|source| EncodeError::Draw { source })?;
    Ok(svg)
}

/// Command, event, duration, host, sum of all samples, and the loss if there is one.
fn subtitle(profile: &Profile, total: u64) -> String {
    let meta = profile.meta();
    let duration_nanos = u64::try_from(meta.duration_nanos).unwrap_or(0);
    let sum = match profile.folded_type().unit() {
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

/// Such as `250 ns`, `2.5 ms`, `10.0 s` or `3 min 5 s`.
fn human_duration(nanos: u64) -> String {
    const SECOND: u64 = 1_000_000_000;
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{:.1} µs", nanos as f64 / 1e3),
        1_000_000..SECOND => format!("{:.1} ms", nanos as f64 / 1e6),
        _ if nanos < 60 * SECOND => format!("{:.1} s", nanos as f64 / 1e9),
        _ => format!("{} min {} s", nanos / SECOND / 60, nanos / SECOND % 60),
    }
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

    #[test]
    fn durations_are_readable() {
        // Each magnitude gets the unit a person would choose.
        let cases = [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_500, "1.5 µs"),
            (2_500_000, "2.5 ms"),
            (10_000_000_000, "10.0 s"),
            (185_000_000_000, "3 min 5 s"),
        ];
        for (nanos, expected) in cases {
            assert_eq!(human_duration(nanos), expected);
        }
    }
}
