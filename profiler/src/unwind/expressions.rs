//! The few DWARF expressions that call frame information has in practice, recognized by shape.
//!
//! Nothing is evaluated: a shape that is not in the list is not understood.

use gimli::{EndianSlice, Expression, LittleEndian, Operation, X86_64};

/// The longest shape in the list.
const MAX_OPERATIONS: usize = 9;

/// The address or value that an expression gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `register + offset`
    Register { register: u16, offset: i64 },
    /// `[register + offset] + add`
    Deref {
        register: u16,
        offset: i64,
        add: i64,
    },
    /// `sp + offset + ((pc & 15) >= threshold) * 8`, which linkers write for a procedure linkage
    /// table.
    Plt { offset: i64, threshold: i64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Register(u16, i64),
    Constant(i64),
    Add(i64),
    Deref,
    And,
    Ge,
    Shl,
    Plus,
}

type Reader<'data> = EndianSlice<'data, LittleEndian>;

/// The shape of an expression, or `None` where it is not in the list.
pub(super) fn shape(
    expression: Expression<Reader<'_>>,
    encoding: gimli::Encoding,
) -> Option<Shape> {
    let mut words = [Word::Deref; MAX_OPERATIONS];
    let mut count = 0;
    let mut operations = expression.operations(encoding);
    while let Some(operation) = operations.next().ok()? {
        *words.get_mut(count)? = word(operation)?;
        count += 1;
    }
    match_shape(&words[..count])
}

fn word(operation: Operation<Reader<'_>>) -> Option<Word> {
    Some(match operation {
        Operation::RegisterOffset {
            register, offset, ..
        } => Word::Register(register.0, offset),
        Operation::UnsignedConstant { value } => Word::Constant(i64::try_from(value).ok()?),
        Operation::SignedConstant { value } => Word::Constant(value),
        Operation::PlusConstant { value } => Word::Add(i64::try_from(value).ok()?),
        Operation::Deref {
            size: 8,
            space: false,
            ..
        } => Word::Deref,
        Operation::And => Word::And,
        Operation::Ge => Word::Ge,
        Operation::Shl => Word::Shl,
        Operation::Plus => Word::Plus,
        _ => return None,
    })
}

fn match_shape(words: &[Word]) -> Option<Shape> {
    const SP: u16 = X86_64::RSP.0;
    const PC: u16 = X86_64::RA.0;
    let deref = |register, offset, add| Shape::Deref {
        register,
        offset,
        add,
    };
    Some(match *words {
        [Word::Register(register, offset)] => Shape::Register { register, offset },
        [Word::Register(register, offset), Word::Deref] => deref(register, offset, 0),
        [
            Word::Register(register, offset),
            Word::Deref,
            Word::Add(add),
        ]
        | [
            Word::Register(register, offset),
            Word::Deref,
            Word::Constant(add),
            Word::Plus,
        ] => deref(register, offset, add),
        [
            Word::Register(SP, offset),
            Word::Register(PC, 0),
            Word::Constant(15),
            Word::And,
            Word::Constant(threshold),
            Word::Ge,
            Word::Constant(3),
            Word::Shl,
            Word::Plus,
        ] => Shape::Plt { offset, threshold },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape_of(bytes: &[u8]) -> Option<Shape> {
        let encoding = gimli::Encoding {
            address_size: 8,
            format: gimli::Format::Dwarf32,
            version: 4,
        };
        shape(Expression(EndianSlice::new(bytes, LittleEndian)), encoding)
    }

    /// Each shape that compilers, linkers and assembly code write is recognized by its bytes.
    #[test]
    fn recognizes_the_shapes_in_use() {
        let deref = |register, offset, add| {
            Some(Shape::Deref {
                register,
                offset,
                add,
            })
        };
        // gcc's realigned stack: DW_OP_breg6 -8; DW_OP_deref
        assert_eq!(shape_of(&[0x76, 0x78, 0x06]), deref(6, -8, 0));
        // OpenSSL: DW_OP_breg7 24; DW_OP_deref; DW_OP_plus_uconst 8
        assert_eq!(shape_of(&[0x77, 24, 0x06, 0x23, 8]), deref(7, 24, 8));
        // DW_OP_breg7 24; DW_OP_deref; DW_OP_lit8; DW_OP_plus
        assert_eq!(shape_of(&[0x77, 24, 0x06, 0x38, 0x22]), deref(7, 24, 8));
        // A saved register: DW_OP_breg6 0
        let register = Shape::Register {
            register: 6,
            offset: 0,
        };
        assert_eq!(shape_of(&[0x76, 0]), Some(register));
        for threshold in [9, 10, 11] {
            let lit = 0x30 + threshold;
            let plt = [0x77, 8, 0x80, 0, 0x3f, 0x1a, lit, 0x2a, 0x33, 0x24, 0x22];
            let shape = Shape::Plt {
                offset: 8,
                threshold: threshold.into(),
            };
            assert_eq!(shape_of(&plt), Some(shape));
        }
    }

    /// Expressions of other shapes, damaged or endless ones are not understood.
    #[test]
    fn refuses_other_shapes() {
        let refused: [&[u8]; 7] = [
            &[],
            &[0x06],
            &[0x76],
            &[0x76, 0, 0x06, 0x06],
            &[0x2f, 0xfd, 0xff],
            &[0x96; 40],
            &[0x77, 8, 0x80, 0, 0x3e, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22],
        ];
        for bytes in refused {
            assert_eq!(shape_of(bytes), None, "{bytes:x?}");
        }
    }
}
