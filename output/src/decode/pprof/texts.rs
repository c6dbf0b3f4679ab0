//! The strings of a message, and what is told by nothing but strings.

use ::pprof::protos;

use super::DecodeError;
use crate::profile::{Meta, SampleType, Unit};

/// How the first [comments](crate::Pprof) begin, which tell what was recorded.
const HEAD: [&str; 3] = ["command: ", "event: ", "host: "];

/// The strings of a message by their numbers.
#[derive(Debug)]
pub(super) struct Texts<'a>(pub(super) &'a protos::Profile);

impl<'a> Texts<'a> {
    pub(super) fn get(&self, index: i64) -> Result<&'a str, DecodeError> {
        let table = &self.0.string_table;
        let text = usize::try_from(index).ok().and_then(|at| table.get(at));
        let missing = || format!("it has no string {index}, which it refers to");
        text.map(String::as_str)
            .ok_or_else(|| DecodeError::Damaged(missing()))
    }

    /// The type, and by what its values become those of our unit. What is neither time nor memory is a
    /// count.
    pub(super) fn sample_type(
        &self,
        of: &protos::ValueType,
    ) -> Result<(SampleType, u64), DecodeError> {
        let (unit, factor) = match self.get(of.unit)? {
            "nanoseconds" | "ns" => (Unit::Nanoseconds, 1),
            "microseconds" | "us" => (Unit::Nanoseconds, 1_000),
            "milliseconds" | "ms" => (Unit::Nanoseconds, 1_000_000),
            "seconds" | "s" => (Unit::Nanoseconds, 1_000_000_000),
            "bytes" => (Unit::Bytes, 1),
            _ => (Unit::Count, 1),
        };
        Ok((SampleType::new(self.get(of.ty)?, unit), factor))
    }

    /// What the first comments tell of the recording.
    pub(super) fn meta(&self) -> Result<Meta, DecodeError> {
        let comments = self.all_comments()?;
        let tell = |at: usize| comments.get(at)?.strip_prefix(HEAD[at]);
        let [command, event, host] = [0, 1, 2].map(|at| tell(at).unwrap_or_default().to_owned());
        Ok(Meta {
            title: "timesink: profile".to_owned(),
            command,
            host,
            time_nanos: self.0.time_nanos,
            duration_nanos: self.0.duration_nanos,
            event,
            slice_ns: 0,
        })
    }

    /// The other comments.
    pub(super) fn comments(&self) -> Result<Vec<&'a str>, DecodeError> {
        let mut comments = self.all_comments()?;
        let tells = |at: usize, line: &str| HEAD.get(at).is_some_and(|head| line.starts_with(head));
        let mut at = 0..;
        comments.retain(|line| !at.next().is_some_and(|at| tells(at, line)));
        Ok(comments)
    }

    fn all_comments(&self) -> Result<Vec<&'a str>, DecodeError> {
        let comments = self.0.comment.iter();
        comments.map(|&comment| self.get(comment)).collect()
    }
}
