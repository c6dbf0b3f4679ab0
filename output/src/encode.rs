//! The formats a profile is written in: one file and one [`Encode`] each.
//!
//! Encoders are deterministic and write what the profile holds; they neither clean names nor count losses.

pub(crate) mod folded;
mod pprof;
mod svg;

use std::fmt;
use std::io::{self, Write};
use std::path::Path;

use crate::profile::Profile;

pub use folded::Folded;
pub(crate) use folded::{UNKNOWN, unnamed};
pub use pprof::Pprof;
pub(crate) use pprof::message as pprof_message;
pub use svg::Svg;

/// Why a profile was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// What was to take the bytes did not.
    #[error("failed to write the profile as `{format}`")]
    Write {
        /// The format being written.
        format: Format,
        /// What the writer said.
        source: io::Error,
    },
    /// The flame graph could not be drawn.
    #[error("failed to draw the flame graph")]
    Draw {
        /// What the drawing library said.
        source: io::Error,
    },
}

/// Writes profiles in one format.
pub trait Encode: fmt::Debug {
    /// Writes the whole of `profile` to `to`, many small pieces at a time: a file wants a buffer before it.
    ///
    /// # Errors
    /// When `to` fails, with part of the profile written.
    fn encode(&self, profile: &Profile, to: &mut dyn Write) -> Result<(), EncodeError>;
}

/// A format to write a profile in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A flame graph for browsers.
    Svg,
    /// One line per stack.
    Folded,
    /// Gzipped protobuf for `go tool pprof` and profile servers.
    Pprof,
}

/// Each format with its name, the end of its files' names, and its encoder.
const FORMATS: [(Format, &str, &str, &dyn Encode); 3] = [
    (Format::Svg, "svg", ".svg", &Svg),
    (Format::Folded, "folded", ".folded", &Folded),
    (Format::Pprof, "pprof", ".pb.gz", &Pprof),
];

impl Format {
    /// The format for a file name that ends in `.svg`, `.folded` or `.pb.gz`.
    pub fn from_extension(path: &Path) -> Option<Self> {
        let file = path.file_name()?.as_encoded_bytes();
        let row = FORMATS
            .iter()
            .find(|(_, _, end, _)| file.ends_with(end.as_bytes()))?;
        Some(row.0)
    }

    /// The format called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        let row = FORMATS.iter().find(|row| row.1 == name)?;
        Some(row.0)
    }

    /// The names of all formats.
    pub fn names() -> [&'static str; FORMATS.len()] {
        FORMATS.map(|row| row.1)
    }

    /// The name of this format.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// How the names of this format's files end, with the leading dot.
    pub fn extension(self) -> &'static str {
        self.row().2
    }

    /// What writes this format.
    pub fn encoder(self) -> &'static dyn Encode {
        self.row().3
    }

    fn row(self) -> &'static (Format, &'static str, &'static str, &'static dyn Encode) {
        let row = FORMATS.iter().find(|row| row.0 == self);
        row.expect("every format has a row")
    }

    /// For `map_err` on what writes this format.
    fn write_error(self) -> impl Fn(io::Error) -> EncodeError {
        move |source| EncodeError::Write {
            format: self,
            source,
        }
    }
}

/// The name.
impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_found_by_name_and_extension() {
        // Each format is found by its own name and by the end of a file name, and nothing else is.
        for name in Format::names() {
            let format = Format::from_name(name).unwrap();
            let path = format!("a.b/out{}", format.extension());
            assert_eq!(format.to_string(), name);
            assert_eq!(Format::from_extension(Path::new(&path)), Some(format));
        }
        assert_eq!(Format::from_name("SVG"), None);
        for path in ["", "/", "svg", "out.gz", "out.pb", "out.svg/", "out.svg/x"] {
            let expected = (path == "out.svg/").then_some(Format::Svg);
            assert_eq!(Format::from_extension(Path::new(path)), expected, "{path}");
        }
    }
}
