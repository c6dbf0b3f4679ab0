//! The unwinder's step over stored cases: registers, rows and a slice of stack in, frames out.
//!
//! Each file of `tests/cases/unwind/MACHINE` is one case, whichever machine this is; `BLESS=1`
//! rewrites the frames. `c` is the CFA, other names are registers and `[…]` is memory. One of x86-64:
//!
//! ```text
//! # what the case is
//! registers pc=… sp=… rbp=… r10=…     the leaf's; sp and rbp have their DWARF meaning
//! rows
//!   ADDRESS cfa=rsp+8 rbp=c-16 ra=c-8   a rule, from this address on
//! stack ADDRESS
//!   WORD WORD …
//! frames
//!   pc=… sp=… rbp=…
//!   end: a reason
//! ```

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

mod arch;

use std::{collections::BTreeMap, env, fmt::Write, fs, path::Path};

use abi::{
    reasons::StackEnd,
    unwind::{Caller, Registers, Rule, cfa, followed, fp, ra, step},
};
use arch::{AARCH64, Arch, X86_64};

/// No case is deeper; a walk that is has lost its way.
const MAX_FRAMES: usize = 16;

struct Case<'a> {
    arch: &'a Arch,
    registers: BTreeMap<String, u64>,
    rows: BTreeMap<u64, Rule>,
    memory: BTreeMap<u64, u64>,
}

impl<'a> Case<'a> {
    /// Reads a case up to its frames.
    fn parse(arch: &'a Arch, text: &str) -> Self {
        let mut case = Case {
            arch,
            registers: BTreeMap::new(),
            rows: BTreeMap::new(),
            memory: BTreeMap::new(),
        };
        let (mut in_rows, mut address) = (false, 0);
        for line in text.lines().map(str::trim) {
            let mut words = line.split_whitespace();
            match words.next() {
                None | Some("#") => {}
                Some("registers") => case.registers = words.map(named_number).collect(),
                Some("rows") => in_rows = true,
                Some("stack") => {
                    in_rows = false;
                    address = number(words.next().unwrap());
                }
                Some("frames") => break,
                Some(first) if in_rows => {
                    case.rows.insert(number(first), arch.rule(words));
                }
                Some(first) => {
                    for word in [first].into_iter().chain(words) {
                        case.memory.insert(address, number(word));
                        address += 8;
                    }
                }
            }
        }
        case
    }

    fn rule_at(&self, address: u64) -> Rule {
        let row = self.rows.range(..=address).next_back();
        row.map_or(Rule::NONE, |(_, rule)| *rule)
    }

    fn read(&self, address: u64) -> Option<[u64; 2]> {
        let word = |address| self.memory.get(&address).copied();
        Some([word(address)?, word(address + 8)?])
    }

    /// Walks as the kernel programs do, and writes down what is found.
    fn frames(&self) -> String {
        let machine = &self.arch.machine;
        let own = |register: u8| self.registers.get(self.arch.name(register)).copied();
        let mut at = Caller {
            registers: Registers {
                pc: self.registers["pc"],
                sp: own(machine.stack_pointer).unwrap(),
                fp: own(machine.frame_pointer).unwrap(),
                followed_at: Registers::OWN,
            },
            is_return: false,
        };
        let mut frames = String::new();
        for depth in 0..MAX_FRAMES {
            writeln!(frames, "  {}", self.arch.shown(&at)).unwrap();
            let rule = self.rule_at(at.registers.pc - u64::from(at.is_return));
            let leaf =
                |register: u8| own(register).filter(|_| depth == 0 || register == machine.followed);
            match step(machine, &at.registers, &rule, leaf, |address| {
                self.read(address)
            }) {
                Ok(caller) => at = caller,
                Err(end) => {
                    writeln!(frames, "  end: {}", StackEnd::name(end)).unwrap();
                    return frames;
                }
            }
        }
        panic!("an endless walk");
    }
}

impl Arch {
    fn name(&self, register: u8) -> &'static str {
        self.names[usize::from(register)]
    }

    fn register(&self, name: &str) -> u8 {
        self.names.iter().position(|known| *known == name).unwrap() as u8
    }

    fn shown(&self, frame: &Caller) -> String {
        let Registers { pc, sp, fp, .. } = frame.registers;
        let sp_name = self.name(self.machine.stack_pointer);
        let fp_name = self.name(self.machine.frame_pointer);
        let exact = if frame.is_return { "" } else { " exact" };
        match fp {
            Registers::UNKNOWN => format!("pc={pc:#x} {sp_name}={sp:#x} {fp_name}=?{exact}"),
            _ => format!("pc={pc:#x} {sp_name}={sp:#x} {fp_name}={fp:#x}{exact}"),
        }
    }

    fn rule<'a>(&self, words: impl Iterator<Item = &'a str>) -> Rule {
        let fp_name = self.name(self.machine.frame_pointer);
        let followed_name = self.name(self.machine.followed);
        let mut rule = Rule::NONE;
        for word in words {
            match word.split_once('=') {
                None => rule = self.named_rule(word),
                Some(("cfa", text)) => rule = self.cfa_rule(text),
                Some(("ra", "undefined")) => rule.ra = ra::END,
                Some(("ra", text)) if text.starts_with('c') => rule.ra_offset = sum(text).1,
                Some(("ra", text)) => {
                    (rule.ra, rule.ra_offset) = (ra::REGISTER, self.register(text).into());
                }
                Some((name, "undefined")) if name == fp_name => rule.fp = fp::UNDEFINED,
                Some((name, text)) if name == fp_name => match sum(text) {
                    ("c", offset) => (rule.fp, rule.fp_offset) = (fp::AT_CFA, offset),
                    (_, offset) => (rule.fp, rule.fp_offset) = (fp::AT_FP, offset),
                },
                Some((name, "same")) if name == followed_name => {
                    rule.followed_offset = followed::SAME;
                }
                Some((name, text)) if name == followed_name => {
                    rule.followed_offset = sum(text).1;
                }
                Some(_) => panic!("no such part of a rule: {word}"),
            }
        }
        rule
    }

    fn named_rule(&self, name: &str) -> Rule {
        match name {
            "signal" => Rule::signal(&self.machine),
            "frame-pointer" => Rule::frame_pointer(&self.machine),
            "unsupported" => Rule::UNSUPPORTED,
            _ => Rule::NONE,
        }
    }

    fn cfa_rule(&self, text: &str) -> Rule {
        if let Some((name, threshold)) = text.split_once("+8*(pc&15>=") {
            let (name, offset) = sum(name);
            return Rule {
                cfa: cfa::PLT,
                cfa_add: threshold.trim_end_matches(')').parse().unwrap(),
                ..Rule::register(self.register(name), offset)
            };
        }
        match text.strip_prefix('[') {
            Some(held) => {
                let (held, add) = held.split_once(']').unwrap();
                let (name, offset) = sum(held);
                Rule {
                    cfa: cfa::DEREF,
                    cfa_add: add.parse().unwrap(),
                    ..Rule::register(self.register(name), offset)
                }
            }
            None => {
                let (name, offset) = sum(text);
                Rule::register(self.register(name), offset)
            }
        }
    }
}

fn number(text: &str) -> u64 {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).unwrap(),
        None => text.parse().unwrap(),
    }
}

fn named_number(text: &str) -> (String, u64) {
    let (name, value) = text.split_once('=').unwrap();
    (name.to_owned(), number(value))
}

/// A name and a signed offset, such as `rsp+8`.
fn sum(text: &str) -> (&str, i32) {
    let sign = text.find(['+', '-']).unwrap();
    let (name, offset) = text.split_at(sign);
    (name, offset.parse().unwrap())
}

/// Each stored case of a machine gives its frames, the end of the walk included; `least` is how many
/// there are.
fn check(arch: &Arch, folder: &str, least: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("cases/unwind")
        .join(folder);
    let mut cases = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let (given, expected) = text.split_once("frames\n").unwrap();
        let frames = Case::parse(arch, given).frames();
        if env::var_os("BLESS").is_some() {
            fs::write(&path, format!("{given}frames\n{frames}")).unwrap();
            continue;
        }
        assert_eq!(frames, expected, "{}; BLESS=1 accepts", path.display());
        cases += 1;
    }
    assert!(cases >= least || env::var_os("BLESS").is_some(), "{cases}");
}

/// On x86-64, where a call leaves its return address on the stack.
#[test]
fn cases_of_x86_64_give_their_frames() {
    check(&X86_64, "x86_64", 20);
}

/// On AArch64, where a call leaves it in a register.
#[test]
fn cases_of_aarch64_give_their_frames() {
    check(&AARCH64, "aarch64", 12);
}
