//! Counts the parts of a protobuf message before they are decoded.
//!
//! A message of two bytes becomes a struct of seventy, so that the size of the bytes alone is no bound on
//! memory.

/// Fields of `Profile` whose messages have messages of their own: `sample` and `location`.
const NESTED: [u64; 2] = [2, 4];

/// How many fields a profile has, with those of its samples and locations; `None` where it is not
/// protobuf.
///
/// The format: <https://protobuf.dev/programming-guides/encoding/>.
pub(super) fn fields(message: &[u8]) -> Option<usize> {
    let mut count = 0;
    let mut rest = message;
    while let Some((field, content)) = next(&mut rest)? {
        count += 1;
        if NESTED.contains(&field) {
            let mut rest = content;
            while next(&mut rest)?.is_some() {
                count += 1;
            }
        }
    }
    Some(count)
}

/// The number and the bytes of the next field, if there is one; those of a number are left empty.
fn next<'a>(rest: &mut &'a [u8]) -> Option<Option<(u64, &'a [u8])>> {
    if rest.is_empty() {
        return Some(None);
    }
    let key = varint(rest)?;
    let length = match key & 7 {
        0 => {
            varint(rest)?;
            0
        }
        1 => 8,
        2 => usize::try_from(varint(rest)?).ok()?,
        5 => 4,
        _ => return None,
    };
    let (content, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(Some((key >> 3, content)))
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields of each kind count, those of samples too, and what is cut short is no message.
    #[test]
    fn fields_are_counted() {
        assert_eq!(fields(&[]), Some(0));
        assert_eq!(fields(&[0x48, 0x96, 0x01]), Some(1));
        assert_eq!(fields(&[0x32, 2, b'a', b'b', 0x32, 0]), Some(2));
        assert_eq!(fields(&[0x12, 4, 0x1a, 0, 0x1a, 0]), Some(3));
        let fixed = [0x49, 0, 0, 0, 0, 0, 0, 0, 0, 0x4d, 0, 0, 0, 0];
        assert_eq!(fields(&fixed), Some(2));
        for cut in [
            &[0x48][..],
            &[0x48, 0x80],
            &[0x32, 3, b'a'],
            &[0x0b],
            &[0xff; 11],
        ] {
            assert_eq!(fields(cut), None, "{cut:?}");
        }
    }
}
