//! ClickHouse's format `RowBinary`: the values of each row one after the other, little-endian, strings and
//! arrays behind their length.
//!
//! The format is described in ClickHouse's reference of formats. It names neither columns nor types, so both
//! ends must agree on them: each statement lists its columns.

use std::io::{self, BufRead, Read};

/// The longest string and array that is read: more than anything that is written here.
const MAX_LEN: u64 = 1 << 24;

/// Rows to be sent.
#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rows(Vec<u8>);

impl Rows {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.fixed(&value.to_le_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.fixed(&value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.fixed(&value.to_le_bytes());
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.fixed(&value.to_le_bytes());
    }

    /// Bytes of which the column has so many.
    pub(super) fn fixed(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn string(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.len(bytes.len());
        self.fixed(bytes);
    }

    /// An array of what `put` writes of each item.
    pub(super) fn array<T>(&mut self, items: &[T], mut put: impl FnMut(&mut Self, &T)) {
        self.len(items.len());
        for item in items {
            put(self, item);
        }
    }

    /// Rows that were made apart.
    pub(super) fn append(&mut self, rows: &Self) {
        self.fixed(&rows.0);
    }

    /// As LEB128.
    fn len(&mut self, len: usize) {
        let mut rest = len;
        while rest >= 0x80 {
            self.0.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.0.push(rest as u8);
    }
}

/// Rows as they arrive.
pub(super) struct Reader(Box<dyn BufRead + Send>);

impl Reader {
    pub(super) fn new(from: impl BufRead + Send + 'static) -> Self {
        Self(Box::new(from))
    }

    /// Whether all rows were read.
    pub(super) fn is_at_end(&mut self) -> io::Result<bool> {
        Ok(self.0.fill_buf()?.is_empty())
    }

    pub(super) fn u8(&mut self) -> io::Result<u8> {
        Ok(u8::from_le_bytes(self.fixed()?))
    }

    pub(super) fn u16(&mut self) -> io::Result<u16> {
        Ok(u16::from_le_bytes(self.fixed()?))
    }

    pub(super) fn u32(&mut self) -> io::Result<u32> {
        Ok(u32::from_le_bytes(self.fixed()?))
    }

    pub(super) fn u64(&mut self) -> io::Result<u64> {
        Ok(u64::from_le_bytes(self.fixed()?))
    }

    pub(super) fn i64(&mut self) -> io::Result<i64> {
        Ok(i64::from_le_bytes(self.fixed()?))
    }

    pub(super) fn fixed<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn bytes(&mut self) -> io::Result<Vec<u8>> {
        let len = self.len()?;
        let mut bytes = Vec::new();
        (&mut self.0).take(len).read_to_end(&mut bytes)?;
        match bytes.len() as u64 == len {
            true => Ok(bytes),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    pub(super) fn string(&mut self) -> io::Result<String> {
        Ok(String::from_utf8_lossy(&self.bytes()?).into_owned())
    }

    pub(super) fn array<T>(
        &mut self,
        mut get: impl FnMut(&mut Self) -> io::Result<T>,
    ) -> io::Result<Vec<T>> {
        (0..self.len()?).map(|_| get(self)).collect()
    }

    fn len(&mut self) -> io::Result<u64> {
        let mut len = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.u8()?;
            len |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 && len <= MAX_LEN {
                return Ok(len);
            }
        }
        let error = format!("a value is longer than {MAX_LEN} bytes");
        Err(io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &[u8]) -> Reader {
        Reader::new(io::Cursor::new(bytes.to_vec()))
    }

    #[test]
    fn what_is_written_is_read() {
        // Each kind of value comes back as it was, at the borders of its lengths too.
        let long = "é".repeat(10_000);
        let mut rows = Rows::default();
        rows.u8(1);
        rows.u16(2);
        rows.u32(3);
        rows.u64(u64::MAX);
        rows.i64(-5);
        rows.fixed(&[6; 16]);
        rows.array(&["", "x", &long], |rows, text| rows.string(text));
        let mut reader = reader(rows.bytes());
        assert_eq!(reader.u8().unwrap(), 1);
        assert_eq!(reader.u16().unwrap(), 2);
        assert_eq!(reader.u32().unwrap(), 3);
        assert_eq!(reader.u64().unwrap(), u64::MAX);
        assert_eq!(reader.i64().unwrap(), -5);
        assert_eq!(reader.fixed().unwrap(), [6; 16]);
        assert_eq!(reader.array(Reader::string).unwrap(), ["", "x", &long]);
        assert!(reader.is_at_end().unwrap());
    }

    #[test]
    fn damaged_rows_are_errors() {
        // A cut value and a length beyond reason end in an error, without memory for them.
        assert!(reader(&[5, b'a']).string().is_err());
        assert!(reader(&[1, 2, 3]).u32().is_err());
        assert!(reader(&[0xff; 20]).string().is_err());
        assert!(
            reader(&[0xff, 0xff, 0xff, 0xff, 0x0f])
                .array(Reader::u8)
                .is_err()
        );
        assert!(reader(&[0x80]).bytes().is_err());
    }
}
