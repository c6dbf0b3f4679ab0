//! The numbers that the enumerations of `schema.sql` have.

use std::io;

use crate::ledger::RowKind;
use crate::profile::{FrameKind, MappingKind, Unit};

/// Values by their number, from 1; 0 is for none.
pub(super) trait Code: Copy + PartialEq + 'static {
    /// In the order of their numbers.
    const ALL: &'static [Self];

    fn code(self) -> u8 {
        let place = Self::ALL.iter().position(|&one| one == self);
        place.map_or(0, |place| place as u8 + 1)
    }

    /// `None` for 0.
    fn optional(code: u8) -> io::Result<Option<Self>> {
        let Some(place) = usize::from(code).checked_sub(1) else {
            return Ok(None);
        };
        let found = Self::ALL.get(place).copied();
        found.map(Some).ok_or_else(|| unknown(code))
    }

    fn from_code(code: u8) -> io::Result<Self> {
        Self::optional(code)?.ok_or_else(|| unknown(code))
    }
}

impl Code for Unit {
    const ALL: &'static [Self] = &[Self::Count, Self::Nanoseconds, Self::Bytes];
}

impl Code for FrameKind {
    const ALL: &'static [Self] = &[Self::User, Self::Kernel, Self::Synthetic];
}

impl Code for MappingKind {
    const ALL: &'static [Self] = &[Self::File, Self::Vdso, Self::Kernel, Self::Jit];
}

impl Code for RowKind {
    const ALL: &'static [Self] = &[
        Self::Expected,
        Self::Got,
        Self::Elsewhere,
        Self::Lost,
        Self::Note,
    ];
}

fn unknown(code: u8) -> io::Error {
    let text = format!("a row has the number {code}, which this version does not know");
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether each value's number comes back and stands with its word in the schema.
    fn check<T: Code + std::fmt::Debug>(word: impl Fn(T) -> String) {
        let schema = include_str!("schema.sql");
        for &value in T::ALL {
            assert_eq!(T::from_code(value.code()).unwrap(), value);
            let entry = format!("'{}' = {}", word(value), value.code());
            assert!(schema.contains(&entry), "{entry}");
        }
        assert!(T::from_code(0).is_err());
        assert!(T::optional(0).unwrap().is_none());
        assert!(T::from_code(T::ALL.len() as u8 + 1).is_err());
    }

    #[test]
    fn numbers_are_those_of_the_schema() {
        // The numbers here and the words beside them in the tables are the same.
        check(|unit: Unit| unit.to_string());
        check(|kind: FrameKind| format!("{kind:?}").to_lowercase());
        check(|kind: MappingKind| format!("{kind:?}").to_lowercase());
        check(|kind: RowKind| format!("{kind:?}").to_lowercase());
    }
}
