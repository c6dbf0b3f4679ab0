//! Moments and ranges of time, as typed.

use std::{fmt, str::FromStr, time::Duration};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::parse_duration;

/// A moment, as typed: `now`, `90m` for so long ago, or RFC 3339, `2026-01-31T12:00:00+01:00`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    text: String,
    when: When,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Ago(Duration),
    At(i64),
}

impl Moment {
    /// Nanoseconds from the Unix epoch, where `now_ns` is the time.
    #[must_use]
    pub fn resolve(&self, now_ns: i64) -> i64 {
        match self.when {
            When::Ago(before) => {
                now_ns.saturating_sub(i64::try_from(before.as_nanos()).unwrap_or(i64::MAX))
            }
            When::At(ns) => ns,
        }
    }
}

/// As typed.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.when {
            When::Ago(before) if !before.is_zero() => write!(f, "{} ago", self.text),
            When::Ago(_) | When::At(_) => f.write_str(&self.text),
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let when = match (text, parse_duration(text)) {
            ("now", _) => When::Ago(Duration::ZERO),
            (_, Ok(before)) => When::Ago(before),
            (_, Err(_)) => When::At(at(text)?),
        };
        let text = text.to_owned();
        Ok(Self { text, when })
    }
}

fn at(text: &str) -> Result<i64, String> {
    let expected = "expected so long ago, such as 90m or 2h, or RFC 3339, such as \
                    2026-01-31T12:00:00Z, or now";
    let moment = OffsetDateTime::parse(text, &Rfc3339);
    let ns = moment.ok().map(OffsetDateTime::unix_timestamp_nanos);
    let ns = ns.and_then(|ns| i64::try_from(ns).ok());
    ns.ok_or_else(|| expected.to_owned())
}

/// A range of time, as typed: `2h..1h`, each end a [`Moment`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The beginning.
    pub from: Moment,
    /// The end.
    pub to: Moment,
}

impl Span {
    /// The range, where `now_ns` is the time in nanoseconds from the Unix epoch.
    ///
    /// # Errors
    /// Where it does not end after it begins.
    pub fn resolve(&self, now_ns: i64) -> Result<output::Range, String> {
        let range = output::Range {
            from_ns: self.from.resolve(now_ns),
            to_ns: self.to.resolve(now_ns),
        };
        match range.is_empty() {
            true => Err(format!("{self} does not end after it begins")),
            false => Ok(range),
        }
    }
}

/// In words.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {} to {}", self.from, self.to)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) = text
            .split_once("..")
            .ok_or("expected two moments, such as 2h..1h or 1h..now")?;
        Ok(Self {
            from: from.parse()?,
            to: to.parse()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000_000;
    /// 2026-01-31T12:00:00Z
    const NOON: i64 = 1_769_860_800_000_000_000;

    /// A moment is so long ago, now, or a time of any zone.
    #[test]
    fn moments_are_times_or_so_long_ago() {
        let ns = |text: &str| text.parse::<Moment>().unwrap().resolve(NOON);
        assert_eq!(ns("now"), NOON);
        assert_eq!(ns("1h"), NOON - HOUR);
        assert_eq!(ns("2026-01-31T12:00:00Z"), NOON);
        assert_eq!(
            ns("2026-01-31T12:30:00.5+01:00"),
            NOON - HOUR / 2 + 500_000_000
        );
        for bad in [
            "",
            "then",
            "-1h",
            "2026-01-31",
            "2026-01-31T12:00:00",
            "9999-01-01T00:00:00Z",
        ] {
            assert!(bad.parse::<Moment>().is_err(), "{bad}");
        }
    }

    /// A range has two ends, the first of them first.
    #[test]
    fn ranges_end_after_they_begin() {
        let span: Span = "2h..2026-01-31T12:00:00Z".parse().unwrap();
        assert_eq!(span.to_string(), "from 2h ago to 2026-01-31T12:00:00Z");
        assert_eq!(span.resolve(NOON).unwrap().len_ns(), 2 * HOUR);
        for bad in ["1h..2h", "1h..1h", "now..now"] {
            let span: Span = bad.parse().unwrap();
            assert!(
                span.resolve(NOON)
                    .unwrap_err()
                    .contains("does not end after"),
                "{bad}"
            );
        }
        for bad in ["1h", "..", "1h..", "1h..2h..3h"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }
}
