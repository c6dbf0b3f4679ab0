//! What a request asks for: its parameters, each within its bounds.
//!
//! Times are whole milliseconds from the Unix epoch, which are exact in JavaScript as nanoseconds are not.
//! A parameter that is not known, or given twice, is refused: what a misspelt filter leaves in would look
//! like an answer.

use crate::profile::SampleType;
use crate::store::{Label, Matcher, Query, Range};

use super::refusal::Refusal;

const NANOS_PER_MS: i64 = 1_000_000;

/// Characters of a parameter: no label is longer once it is cleaned.
const MAX_CHARS: usize = crate::clean::MAX_CHARS;

/// The parameters that were not asked about yet.
#[derive(Debug)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Those of a request.
    pub(super) fn new(pairs: Vec<(String, String)>) -> Result<Self, Refusal> {
        let too_long = |text: &String| text.chars().nth(MAX_CHARS).is_some();
        match pairs
            .iter()
            .any(|(name, value)| too_long(name) || too_long(value))
        {
            true => Err(Refusal::bad("a parameter is too long")),
            false => Ok(Self(pairs)),
        }
    }

    /// The value of a parameter, which is asked for once.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.remove(at).1)
    }

    /// A whole number from `least` to `most`.
    pub(super) fn number(
        &mut self,
        name: &str,
        least: i64,
        most: i64,
    ) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let number = text.parse().ok();
        match number.filter(|number| (least..=most).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(Refusal::bad(&format!(
                "`{name}` is a whole number from {least} to {most}"
            ))),
        }
    }

    /// A moment, in nanoseconds.
    fn moment(&mut self, name: &str) -> Result<Option<i64>, Refusal> {
        let ms = self.number(name, 0, i64::MAX / NANOS_PER_MS)?;
        Ok(ms.map(|ms| ms * NANOS_PER_MS))
    }

    /// The range between two moments; `None` where neither is given.
    pub(super) fn range(&mut self, from: &str, to: &str) -> Result<Option<Range>, Refusal> {
        match (self.moment(from)?, self.moment(to)?) {
            (None, None) => Ok(None),
            (Some(from_ns), Some(to_ns)) if from_ns < to_ns => Ok(Some(Range { from_ns, to_ns })),
            (Some(_), Some(_)) => Err(Refusal::bad(&format!("`{to}` is not after `{from}`"))),
            _ => Err(Refusal::bad(&format!(
                "`{from}` and `{to}` are both needed"
            ))),
        }
    }

    /// The range of `from` and `to`, which must be there.
    pub(super) fn whole_range(&mut self) -> Result<Range, Refusal> {
        let range = self.range("from", "to")?;
        range.ok_or_else(|| Refusal::bad("`from` and `to` are needed, in milliseconds"))
    }

    /// The label that a parameter names.
    pub(super) fn label(&mut self, name: &str) -> Result<Option<Label>, Refusal> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        match Label::from_name(&text) {
            Some(label) => Ok(Some(label)),
            None => {
                let known = Label::ALL.map(Label::name).join(", ");
                Err(Refusal::bad(&format!("`{name}` is one of {known}")))
            }
        }
    }

    /// What labels must be, each by a parameter of its name.
    pub(super) fn matchers(&mut self) -> Vec<Matcher> {
        let labels = Label::ALL.into_iter();
        labels
            .filter_map(|label| {
                let value = self.text(label.name())?;
                Some(Matcher { label, value })
            })
            .collect()
    }

    /// The range and the labels.
    pub(super) fn query(&mut self) -> Result<Query, Refusal> {
        Ok(Query {
            range: self.whole_range()?,
            matchers: self.matchers(),
        })
    }

    /// Refuses what nobody asked about.
    pub(super) fn finish(self) -> Result<(), Refusal> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Refusal::bad(&format!(
                "`{name}` is no parameter of this, or is given twice"
            ))),
        }
    }
}

/// The place of the sample type called `name`, or of the last, which is the one to open first.
pub(super) fn place_of(name: Option<&str>, types: &[SampleType]) -> Result<usize, Refusal> {
    let Some(name) = name else {
        return Ok(types.len().saturating_sub(1));
    };
    let place = types.iter().position(|of| of.name() == name);
    place.ok_or_else(|| {
        let known: Vec<&str> = types.iter().map(SampleType::name).collect();
        let known = known.join(", ");
        Refusal::bad(&format!(
            "there is no sample type `{name}` here; there are: {known}"
        ))
    })
}

/// The millisecond in which a moment lies.
pub(super) fn ms_before(ns: i64) -> i64 {
    ns.div_euclid(NANOS_PER_MS)
}

/// The first whole millisecond that is not before a moment.
pub(super) fn ms_after(ns: i64) -> i64 {
    ms_before(ns.saturating_add(NANOS_PER_MS - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(pairs: &[(&str, &str)]) -> Parameters {
        let owned = pairs
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()));
        Parameters::new(owned.collect()).unwrap()
    }

    /// A range and labels become a query; what is left over is refused.
    #[test]
    fn parameters_become_a_query() {
        let mut asked = parameters(&[
            ("to", "2000"),
            ("process", "a b"),
            ("from", "1000"),
            ("x", "1"),
        ]);
        let query = asked.query().unwrap();
        assert_eq!(
            (query.range.from_ns, query.range.to_ns),
            (1_000_000_000, 2_000_000_000)
        );
        assert_eq!(query.matchers.len(), 1);
        assert_eq!(query.matchers[0].value, "a b");
        assert!(asked.finish().is_err());
    }

    /// What is no time, what ends before it begins, and what is given twice or too long is refused.
    #[test]
    fn nonsense_is_refused() {
        for pairs in [
            [("from", "1"), ("to", "1")],
            [("from", "2"), ("to", "1")],
            [("from", "-1"), ("to", "1")],
            [("from", "1e3"), ("to", "2000")],
            [("from", "1"), ("to", "99999999999999999999")],
            [("from", "1"), ("from", "2")],
        ] {
            assert!(parameters(&pairs).query().is_err(), "{pairs:?}");
        }
        let mut twice = parameters(&[("from", "1"), ("to", "2"), ("pid", "1"), ("pid", "2")]);
        assert!(twice.query().is_ok());
        assert!(twice.finish().is_err());
        assert!(Parameters::new(vec![("process".to_owned(), "x".repeat(1025))]).is_err());
    }

    /// A part of a millisecond belongs to the one in which it lies, and a range ends after it.
    #[test]
    fn milliseconds_hold_the_moment() {
        assert_eq!((ms_before(1_999_999), ms_after(1_000_001)), (1, 2));
        assert_eq!((ms_before(2_000_000), ms_after(2_000_000)), (2, 2));
    }
}
