//! The profile model and its encoders: folded stacks, an SVG flame graph and pprof.
//!
//! A recording is put into a [`Profile`] through interned handles, and one [`Format`] turns it into bytes.
//! Every name passes [`clean()`] on its way in, so that no encoder meets a control character.
//!
//! [`decode()`] reads such bytes back, whoever wrote them.
//!
//! [`Diff`] compares two of them.
//!
//! A [`Store`] keeps profiles of windows and gives them back by time and label, and [`web`] shows what it has.
//! An [`Exporter`] sends them to the servers of others, from a spool on disk.
//!
//! The model and the encoders open no file, read no clock and log nothing, and do not know where names and stacks
//! come from.

mod cgroup;
mod clean;
mod decode;
mod diff;
mod duration;
mod encode;
mod export;
mod hottest;
mod ledger;
mod profile;
mod store;
pub mod web;

pub use cgroup::{container, unit};
pub use clean::{MAX_CHARS, REPLACEMENT, clean, clean_lines, shorten};
pub use decode::{DecodeError, MAX_PROFILE_BYTES, decode};
pub use diff::{
    Against, Change, Diff, DiffError, DiffOptions, FunctionChange, MIN_SHARE_PERCENT, Verdict,
};
pub use duration::human_duration;
pub use encode::{Encode, EncodeError, Folded, Format, Pprof, Svg};
pub use export::{
    Cause, Counters, Destination, DestinationError, ExportError, Exporter, ExporterOptions, Extra,
    OpenStore, OtlpGrpc, OtlpHttp, Pyroscope, SendError, Sink, SinkOptions, StoreSink,
    without_secret,
};
pub use hottest::hottest;
pub use ledger::{Ledger, LedgerRow, RowKind};
pub use profile::{
    Frame, FrameId, FrameKind, Function, FunctionId, Labels, Line, Mapping, MappingId, MappingKind,
    Meta, Period, Profile, Sample, SampleType, Stack, StackId, StringId, Unit, WaitLabels,
};
pub use store::{
    Kept, Label, Matcher, Query, Range, Retention, Row, Store, StoreError, Timeline, TimelineOf,
    open,
};
