//! `timesink diff`.

use std::{path::PathBuf, str::FromStr};

use clap::Args;
use output::MIN_SHARE_PERCENT;
use regex_lite::Regex;

use super::{parse_percent, query::Selection, when::Span};

/// `timesink diff`
#[derive(Args, Debug)]
#[command(
    override_usage = "timesink diff [OPTIONS] <A> <B>\n       timesink diff [OPTIONS] --store <URL> @FROM..TO @FROM..TO"
)]
pub struct DiffArgs {
    /// The first recording: a .pb.gz or .folded file, or with --store a range of time: @2h..1h,
    /// @2026-01-31T12:00:00Z..2026-01-31T13:00:00Z
    #[arg(value_name = "A")]
    pub before: Side,
    /// The second recording, likewise: @1h..now
    #[arg(value_name = "B")]
    pub after: Side,
    /// The store that ranges are of: a folder, or clickhouse://HOST…
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Which samples of the store
    #[command(flatten)]
    pub selection: Selection,

    /// The sample type to compare, such as cpu or off_cpu [default: the one that viewers open first]
    #[arg(long = "type", value_name = "NAME", help_heading = "Comparison")]
    pub sample_type: Option<String>,
    /// Compare times as they are, those of ranges by their length, rather than measure each function
    /// against the typical one
    #[arg(long, help_heading = "Comparison")]
    pub absolute: bool,
    /// Do not judge functions that are a smaller part of both recordings than this, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = MIN_SHARE_PERCENT, value_parser = parse_percent, help_heading = "Comparison")]
    pub min_share: f64,
    /// Fail where the total time of a function grew by more than so many percent and not by chance:
    /// 'parse>5%', '/^parse_/>5%' by a regular expression, '*>5%' (may be repeated)
    #[arg(long, value_name = "NAME>PERCENT", help_heading = "Comparison")]
    pub fail_if: Vec<Limit>,

    /// Write a picture here (may be repeated): .svg, a flame graph of B with what grew in red and
    /// what shrank in blue; .folded, the stacks with both values
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub output: Vec<PathBuf>,
    /// How many functions the table shows
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 20,
        help_heading = "Output"
    )]
    pub rows: usize,
    /// Print JSON with all functions instead of the table
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// One of two recordings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    /// In a file.
    File(PathBuf),
    /// In a store.
    Range(Span),
}

impl FromStr for Side {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix('@') {
            Some(span) => span.parse().map(Self::Range),
            None => Ok(Self::File(text.into())),
        }
    }
}

/// How much functions may grow.
#[derive(Clone, Debug)]
pub struct Limit {
    /// As typed.
    pub text: String,
    /// The most, in percent.
    pub percent: f64,
    names: Names,
}

#[derive(Clone, Debug)]
enum Names {
    All,
    Matching(Regex),
    One(String),
}

impl Limit {
    /// Whether it holds for a function.
    #[must_use]
    pub fn is_of(&self, name: &str) -> bool {
        match &self.names {
            Names::All => true,
            Names::Matching(regex) => regex.is_match(name),
            Names::One(one) => one == name,
        }
    }
}

impl FromStr for Limit {
    type Err = String;

    /// The last `>` ends the name, since names of C++ and Rust have some.
    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected a function and how much it may grow, such as 'parse>5%'";
        let (name, percent) = text.rsplit_once('>').ok_or(expected)?;
        let (name, percent) = (name.trim(), percent.trim());
        let percent = percent.strip_suffix('%').unwrap_or(percent).trim_end();
        let percent = percent
            .parse()
            .ok()
            .filter(|percent: &f64| percent.is_finite() && *percent >= 0.0);
        let regex = name
            .strip_prefix('/')
            .and_then(|name| name.strip_suffix('/'));
        let names = match (name, regex) {
            ("", _) => return Err(expected.to_owned()),
            ("*", _) => Names::All,
            (_, Some(regex)) => {
                Names::Matching(Regex::new(regex).map_err(|error| error.to_string())?)
            }
            (one, None) => Names::One(one.to_owned()),
        };
        Ok(Self {
            text: text.to_owned(),
            percent: percent.ok_or(expected)?,
            names,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name may be whole, a pattern between slashes, or any; the last `>` ends it.
    #[test]
    fn limits_name_functions() {
        let limit = |text: &str| text.parse::<Limit>().unwrap();
        assert!(limit("parse>5%").is_of("parse") && !limit("parse>5%").is_of("parser"));
        assert!(limit("/^pa.*r$/ > 5").is_of("parser") && !limit("/^pa.*r$/>5").is_of("a parser"));
        assert!(limit("*>0%").is_of("anything"));
        let generic = limit("Vec<u8>>::push>2.5%");
        assert!(generic.is_of("Vec<u8>>::push"));
        assert_eq!(generic.percent, 2.5);
        for bad in [
            "",
            "parse",
            ">5%",
            "parse>",
            "parse>x%",
            "parse>-1%",
            "parse>nan",
            "/(/>5%",
        ] {
            assert!(bad.parse::<Limit>().is_err(), "{bad}");
        }
    }

    /// What begins with @ is a range of time, all else a file.
    #[test]
    fn sides_are_files_or_ranges() {
        assert_eq!("a.pb.gz".parse(), Ok(Side::File("a.pb.gz".into())));
        assert!(matches!("@2h..1h".parse(), Ok(Side::Range(_))));
        assert!("@2h".parse::<Side>().is_err());
    }
}
