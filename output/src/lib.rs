//! The profile model and its encoders: folded stacks, an SVG flame graph and pprof.
//!
//! A recording is put into a [`Profile`] through interned handles, and one [`Format`] turns it into bytes.
//! Every name passes [`clean()`] on its way in, so that no encoder meets a control character.
//!
//! Nothing here opens a file, reads a clock, logs, or knows where names and stacks come from.

mod clean;
mod duration;
mod encode;
mod hottest;
mod ledger;
mod profile;

pub use clean::{MAX_CHARS, REPLACEMENT, clean, clean_lines, shorten};
pub use duration::human_duration;
pub use encode::{Encode, EncodeError, Folded, Format, Pprof, Svg};
pub use hottest::hottest;
pub use ledger::{Ledger, LedgerRow, RowKind};
pub use profile::{
    Frame, FrameId, FrameKind, Function, FunctionId, Labels, Line, Mapping, MappingId, MappingKind,
    Meta, Period, Profile, Sample, SampleType, Stack, StackId, StringId, Unit, WaitLabels,
};
