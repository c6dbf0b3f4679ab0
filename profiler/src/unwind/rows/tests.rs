mod elf;

use abi::unwind::{Machine, cfa, fp, ra, table::rule_number};

use super::*;
use elf::{CODE, Elf, cie, fde, link_cie};

fn rows_of(elf: &Elf) -> (Rows, Counts) {
    match read(&elf.machine, elf.bytes().as_slice()).unwrap() {
        FileRows::Rows(table, counts) => (table, counts),
        FileRows::NoCfi => panic!("no call frame information"),
    }
}

/// The rows as (offset in the code, rule).
fn said(table: &Rows) -> Vec<(u32, Rule)> {
    let rows = table.rows.iter();
    rows.map(|row| (row.start - CODE, table.rules[usize::from(row.rule)]))
        .collect()
}

fn sp(offset: i32) -> Rule {
    Rule::register(7, offset)
}

/// `push %rbp`: advance 1, CFA offset 16, rbp at CFA - 16.
const PUSH: &[u8] = &[0x41, 0x0e, 16, 0x86, 2];

/// A row starts where its instructions say and ends with its function; what is between functions
/// has no rule.
#[test]
fn rows_begin_and_end_with_their_functions() {
    let elf = Elf::new(&[cie(b"zR", &[]), fde(0x10, 0x20, PUSH), fde(0x40, 8, &[])]);
    let (table, counts) = rows_of(&elf);
    let pushed = Rule {
        fp: fp::AT_CFA,
        fp_offset: -16,
        ..sp(16)
    };
    assert_eq!(
        said(&table),
        [
            (0x10, sp(8)),
            (0x11, pushed),
            (0x30, Rule::NONE),
            (0x40, sp(8)),
            (0x48, Rule::NONE)
        ]
    );
    assert_eq!((counts.functions, counts.rows), (2, 3));
}

/// Neighbours that say the same are one row, within a function and from one to the next.
#[test]
fn equal_neighbours_are_one_row() {
    let twice = [0x41, 0x0e, 8, 0x42, 0x0e, 8];
    let elf = Elf::new(&[cie(b"zR", &[]), fde(0, 8, &twice), fde(8, 8, &[])]);
    assert_eq!(said(&rows_of(&elf).0), [(0, sp(8)), (16, Rule::NONE)]);
}

/// Of descriptions that overlap the first is taken where both speak, the second behind it; of two
/// with one start, the first in the section.
#[test]
fn the_first_of_overlapping_descriptions_is_taken() {
    let other = [0x0e, 24];
    let elf = Elf::new(&[
        cie(b"zR", &[]),
        fde(8, 16, &other),
        fde(0, 16, &[]),
        fde(0, 4, &other),
        fde(12, 2, &[]),
    ]);
    let (table, counts) = rows_of(&elf);
    assert_eq!(said(&table), [(0, sp(8)), (16, sp(24)), (24, Rule::NONE)]);
    assert_eq!(counts.overlapping, 3);
}

/// A damaged description costs only itself, and a terminator in the middle, as it is where
/// sections were put together, costs nothing.
#[test]
fn damage_costs_only_itself() {
    let unknown_instruction = [0x41, 0x0e, 16, 0x3f];
    let pops_nothing = [0x0b];
    let mut no_such_cie = fde(0x20, 8, &[]);
    no_such_cie[4] = 0xff;
    let elf = Elf::new(&[
        cie(b"zR", &[]),
        fde(0, 8, &unknown_instruction),
        fde(8, 8, &pops_nothing),
        no_such_cie,
        vec![0; 4],
        cie(b"zR", &[]),
        fde(0x30, 8, &[]),
    ]);
    let (table, counts) = rows_of(&elf);
    assert_eq!(said(&table), [(0x30, sp(8)), (0x38, Rule::NONE)]);
    assert_eq!((counts.functions, counts.damaged), (1, 3));
}

/// A function of addresses that the file has no code for is left out; one that begins in code and
/// ends behind it is cut.
#[test]
fn functions_outside_of_the_code_are_left_out() {
    let length = Elf::new(&[]).code.len() as i32;
    let elf = Elf::new(&[
        cie(b"zR", &[]),
        fde(-0x800, 8, &[]),
        fde(length, 8, &[]),
        fde(length - 8, 0x1000, &[]),
    ]);
    let (table, counts) = rows_of(&elf);
    let end = length as u32;
    assert_eq!(said(&table), [(end - 8, sp(8)), (end, Rule::NONE)]);
    assert_eq!((counts.functions, counts.outside), (1, 2));
}

/// An entry that says that signal handlers return to it gives the rule for that, whatever its
/// instructions are.
#[test]
fn a_signal_frame_is_known_by_its_augmentation() {
    let elf = Elf::new(&[cie(b"zRS", &[]), fde(0x10, 9, &[0x0e, 99])]);
    let signal = [(0x10, Rule::signal(&Machine::X86_64)), (0x19, Rule::NONE)];
    assert_eq!(said(&rows_of(&elf).0), signal);
}

/// Without a description it is known by its bytes, from the byte before, at which its address less
/// one is looked up; bytes within a described function are that function's.
#[test]
fn a_signal_frame_is_known_by_its_bytes() {
    let signal_return = [0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05];
    let mut elf = Elf::new(&[cie(b"zR", &[]), fde(0, 0x20, &[])]);
    elf.code[0x10..0x19].copy_from_slice(&signal_return);
    elf.code[0x40..0x49].copy_from_slice(&signal_return);
    let rows = said(&rows_of(&elf).0);
    let expected = [
        (0, sp(8)),
        (0x20, Rule::NONE),
        (0x3f, Rule::signal(&Machine::X86_64)),
        (0x49, Rule::NONE),
    ];
    assert_eq!(rows, expected);
}

/// A procedure linkage table that no entry describes has the rows that its instructions ask for.
#[test]
fn a_plt_is_known_by_its_bytes() {
    let mut elf = Elf::new(&[cie(b"zR", &[]), fde(0, 8, &[])]);
    elf.code[0x20..0x22].copy_from_slice(&[0xff, 0x35]);
    elf.code[0x30..0x37].copy_from_slice(&[0xff, 0x25, 0, 0, 0, 0, 0x68]);
    elf.plt = Some((0x20, 0x30));
    let entry = Rule {
        cfa: cfa::PLT,
        cfa_add: 11,
        ..sp(8)
    };
    let expected = [
        (0x20, sp(16)),
        (0x26, sp(24)),
        (0x30, entry),
        (0x50, Rule::NONE),
    ];
    assert_eq!(said(&rows_of(&elf).0)[2..], expected);
}

/// `__do_global_dtors_aux`, as gcc 12 has it: `completed` is 0x2f25 behind the comparison's end.
const EXIT_CODE: [u8; 57] = [
    0xf3, 0x0f, 0x1e, 0xfa, 0x80, 0x3d, 0x25, 0x2f, 0, 0, 0, 0x75, 0x2b, 0x55, 0x48, 0x83, 0x3d,
    0xea, 0x2e, 0, 0, 0, 0x48, 0x89, 0xe5, 0x74, 0x0c, 0x48, 0x8b, 0x3d, 0x06, 0x2f, 0, 0, 0xe8,
    0x29, 0xff, 0xff, 0xff, 0xe8, 0x64, 0xff, 0xff, 0xff, 0xc6, 0x05, 0xfd, 0x2e, 0, 0, 1, 0x5d,
    0xc3, 0x0f, 0x1f, 0, 0xc3,
];

/// What compilers put around a program is known by its bytes; almost the same code is not.
#[test]
fn code_around_a_program_is_known_by_its_bytes() {
    let mut elf = Elf::new(&[cie(b"zR", &[]), fde(0xf0, 8, &[])]);
    let init = [
        0xf3, 0x0f, 0x1e, 0xfa, 0x48, 0x83, 0xec, 8, 0x90, 0x48, 0x83, 0xc4, 8, 0xc3,
    ];
    elf.code[0x20..0x2e].copy_from_slice(&init);
    elf.init = Some((0x20, 0x0e));
    elf.code[0x80..0x80 + EXIT_CODE.len()].copy_from_slice(&EXIT_CODE);
    let saved = Rule {
        fp: fp::AT_CFA,
        fp_offset: -16,
        ..sp(16)
    };
    let expected_init = [
        (0x20, sp(8)),
        (0x28, sp(16)),
        (0x2d, sp(8)),
        (0x2e, Rule::NONE),
    ];
    let expected_exit = [
        (0x80, sp(8)),
        (0x8e, saved),
        (0xb4, sp(8)),
        (0xb9, Rule::NONE),
    ];
    let function = [(0xf0, sp(8)), (0xf8, Rule::NONE)];
    let expected = [&expected_init[..], &expected_exit, &function].concat();
    assert_eq!(said(&rows_of(&elf).0), expected);
    // Without the mark of a place that is jumped to.
    elf.code[0x80] = 0x90;
    assert_eq!(said(&rows_of(&elf).0)[4], (0x84, sp(8)));
    // It sets another byte than it tests; `.init` does not put the stack pointer back.
    elf.code[0x80 + 46] = 0xfc;
    elf.code[0x2c] = 16;
    assert_eq!(said(&rows_of(&elf).0), function);
}

/// Rows that no rule can say are unsupported, or have no frame pointer, and are counted by cause.
#[test]
fn what_no_rule_can_say_is_counted() {
    type Count = fn(&Unsupported) -> u64;
    let unsupported: [(&[u8], Count); 4] = [
        // The CFA is DW_OP_lit1.
        (&[0x0f, 1, 0x31], |counts| counts.cfa_expression),
        // The CFA is register 17.
        (&[0x0c, 17, 8], |counts| counts.cfa_range),
        // The return address is as in the caller.
        (&[0x08, 16], |counts| counts.return_address),
        // rsp is in r8.
        (&[0x09, 7, 8], |counts| counts.stack_pointer),
    ];
    for (instructions, count) in unsupported {
        let (table, counts) = rows_of(&Elf::new(&[cie(b"zR", &[]), fde(0, 8, instructions)]));
        assert_eq!(said(&table)[0], (0, Rule::UNSUPPORTED), "{instructions:x?}");
        assert_eq!(count(&counts.unsupported), 1, "{instructions:x?}");
    }
    // rbp is in r9.
    let (table, counts) = rows_of(&Elf::new(&[cie(b"zR", &[]), fde(0, 8, &[0x09, 6, 9])]));
    assert_eq!(said(&table)[0].1.fp, fp::UNDEFINED);
    assert_eq!(counts.unsupported.frame_pointer, 1);
}

/// The outermost frame, a return address in a register, and a frame pointer at itself have rules.
#[test]
fn odd_rows_have_rules() {
    let end = Rule {
        ra: ra::END,
        ra_offset: 0,
        ..sp(0)
    };
    let in_register = Rule {
        ra: ra::REGISTER,
        ra_offset: 5,
        ..sp(0)
    };
    // What gcc writes where it realigns the stack.
    let realigned = Rule {
        cfa: cfa::DEREF,
        fp: fp::AT_FP,
        ..Rule::register(6, -8)
    };
    let cases: [(&[u8], Rule); 3] = [
        (&[0x07, 16], end),
        (&[0x0e, 0, 0x09, 16, 5], in_register),
        (&[0x0f, 3, 0x76, 0x78, 0x06, 0x10, 6, 2, 0x76, 0], realigned),
    ];
    for (instructions, rule) in cases {
        let elf = Elf::new(&[cie(b"zR", &[]), fde(0, 8, instructions)]);
        assert_eq!(said(&rows_of(&elf).0)[0], (0, rule), "{instructions:x?}");
    }
}

/// A file of another kind or machine says so, and one without call frame information has no table.
#[test]
fn files_without_rows() {
    let read = |bytes: &[u8]| read(&Machine::X86_64, bytes);
    assert_eq!(read(b"#!/bin/sh\n"), Err(Error::NotElf));
    assert_eq!(read(&[]), Err(Error::NotElf));
    let mut foreign = Elf::new(&[]).bytes();
    foreign[18] = 183;
    assert_eq!(read(&foreign), Err(Error::Foreign));
    let mut cut = Elf::new(&[]).bytes();
    cut.truncate(100);
    assert_eq!(read(&cut), Err(Error::Headers));
    assert_eq!(read(&Elf::new(&[]).bytes()), Ok(FileRows::NoCfi));
}

/// Descriptions whose shared part is long are left out once they have taken their share of time.
#[test]
fn work_is_bounded() {
    let nothing = vec![0; 1 << 20];
    let mut entries = vec![cie(b"zR", &nothing)];
    entries.extend((0..200).map(|_| fde(0, 8, &[])));
    let (table, counts) = rows_of(&Elf::new(&entries));
    assert!(counts.beyond_bounds > 50, "{counts:?}");
    assert_eq!(table.rules.len(), usize::from(rule_number::FIRST_FREE) + 1);
}

/// AArch64's return address is in `x30` until a row says where it is saved, also where an instruction
/// says that it is signed or that it was restored; undefined, it marks the outermost frame.
#[test]
fn a_link_register_is_where_the_return_address_is() {
    let instructions = [
        0x41, 0x2d, // signed
        0x41, 0x0e, 32, 0x9d, 4, 0x9e, 3, // stp x29, x30, [sp, #-32]!
        0x42, 0x0e, 0, 0xdd, 0xde, // ldp
        0x41, 0x2d, // no longer signed
        0x41, 0x08, 30, // as in the caller
        0x41, 0x07, 30, // undefined
    ];
    let mut elf = Elf::new(&[link_cie(b"zR"), fde(0, 8, &instructions)]);
    elf.machine = Machine::AARCH64;
    let link = Rule::link(&Machine::AARCH64);
    let pushed = Rule {
        fp: fp::AT_CFA,
        fp_offset: -32,
        ra_offset: -24,
        ..Rule::register(31, 32)
    };
    let end = Rule {
        ra: ra::END,
        ra_offset: 0,
        ..Rule::register(31, 0)
    };
    let (table, counts) = rows_of(&elf);
    let expected = [(0, link), (2, pushed), (4, link), (7, end), (8, Rule::NONE)];
    assert_eq!(said(&table), expected);
    assert_eq!((counts.damaged, counts.unsupported), Default::default());
}

/// Its procedure linkage table and the code to which signal handlers return are known by their bytes.
#[test]
fn undescribed_code_of_aarch64_is_known_by_its_bytes() {
    let mut elf = Elf::new(&[link_cie(b"zR"), fde(0, 8, &[])]);
    elf.machine = Machine::AARCH64;
    elf.code[0x24..0x28].copy_from_slice(&0xa9bf_7bf0_u32.to_le_bytes());
    elf.plt = Some((0x20, 0x40));
    elf.code[0x80..0x88].copy_from_slice(&[0x68, 0x11, 0x80, 0xd2, 1, 0, 0, 0xd4]);
    let link = Rule::link(&Machine::AARCH64);
    let expected = [
        (0, link),
        (8, Rule::NONE),
        (0x20, link),
        (0x28, Rule::register(31, 16)),
        (0x40, link),
        (0x60, Rule::NONE),
        (0x7f, Rule::signal(&Machine::AARCH64)),
        (0x88, Rule::NONE),
    ];
    assert_eq!(said(&rows_of(&elf).0), expected);
}
