//! Pieces of SQL.

use std::fmt::Write;

use super::DAY_NS;
use crate::store::{Label, Matcher, Range};

/// `text` as a literal, whatever it holds.
///
/// Inside quotes only the quote, the backslash and what a lexer could take for an end have a meaning; those
/// and all other control characters are written as their number.
pub(super) fn quoted(text: &str) -> String {
    let mut literal = String::from("'");
    for c in text.chars() {
        match c {
            '\'' | '\\' | '\0'..='\x1f' | '\x7f' => {
                write!(literal, "\\x{:02x}", u32::from(c)).expect("a string takes all");
            }
            c => literal.push(c),
        }
    }
    literal.push('\'');
    literal
}

/// The value of a label, as text.
pub(super) const fn text_of(label: Label) -> &'static str {
    match label {
        Label::Host => "host",
        Label::Process => "process",
        Label::Pid => "toString(pid)",
        Label::Thread => "thread",
        Label::Tid => "toString(tid)",
        Label::Cgroup => "cgroup",
        Label::Container => "container",
        Label::Unit => "unit",
    }
}

/// That all matchers hold, after another condition.
pub(super) fn and_matching<'a>(matchers: impl IntoIterator<Item = &'a Matcher>) -> String {
    let conditions = matchers.into_iter().map(|matcher| {
        let (column, value) = (text_of(matcher.label), quoted(&matcher.value));
        format!(" AND {column} = {value}")
    });
    conditions.collect()
}

/// That a window of the day can reach into the range: it begins there or, since none is longer than a day, a
/// day earlier. By this, days outside are not read at all.
pub(super) fn within_days(range: Range) -> String {
    let first = day(range.from_ns.saturating_sub(DAY_NS));
    let last = day(range.to_ns);
    format!("day >= toDate({first}) AND day <= toDate({last})")
}

/// The day of a moment that ClickHouse can tell: one from 1970 to 2149.
fn day(at_ns: i64) -> u16 {
    let days = at_ns.div_euclid(DAY_NS).clamp(0, i64::from(u16::MAX));
    days as u16
}

/// A number that the lexer takes as it is, the least one too.
pub(super) fn int64(value: i64) -> String {
    format!("toInt64('{value}')")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_end_where_they_should() {
        // What could end a literal early, or not at all, is written as its number.
        assert_eq!(quoted("plain größe"), "'plain größe'");
        assert_eq!(quoted("a'b\\c"), r"'a\x27b\x5cc'");
        assert_eq!(quoted("\0\n\x7f"), r"'\x00\x0a\x7f'");
    }

    #[test]
    fn days_stay_in_their_bounds() {
        // The day before counts, and moments beyond what a `Date` can hold are cut to its ends.
        let days = |from_ns, to_ns| within_days(Range { from_ns, to_ns });
        let text = days(3 * DAY_NS + 1, 5 * DAY_NS);
        assert_eq!(text, "day >= toDate(2) AND day <= toDate(5)");
        let text = days(i64::MIN, i64::MAX);
        assert_eq!(text, "day >= toDate(0) AND day <= toDate(65535)");
    }
}
