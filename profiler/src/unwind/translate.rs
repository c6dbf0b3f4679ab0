//! One row of call frame information, as gimli gives it, to a [`Rule`].
//!
//! What no rule can say becomes [`Rule::UNSUPPORTED`] or a frame pointer that is not known, and is
//! counted by its cause.

use abi::unwind::{Rule, bx, cfa, dwarf, fp, ra};
use gimli::{
    CfaRule, Encoding, Register, RegisterRule, UnwindContextStorage, UnwindExpression,
    UnwindSection, UnwindTableRow, X86_64,
};

use super::{
    entries::Reader,
    expressions::{Shape, shape},
    rows::Unsupported,
};

/// What a row is read with.
pub(super) struct Translator<'a, Section> {
    pub(super) section: &'a Section,
    pub(super) encoding: Encoding,
    pub(super) return_address: Register,
    pub(super) unsupported: &'a mut Unsupported,
    /// Whether rules tell of `rbx`, which makes for more of them.
    pub(super) follows_bx: bool,
}

impl<'data, Section: UnwindSection<Reader<'data>>> Translator<'_, Section> {
    /// The rule of a row.
    pub(super) fn rule<S: UnwindContextStorage<usize>>(
        &mut self,
        row: &UnwindTableRow<usize, S>,
    ) -> Rule {
        let Some(rule) = self.cfa_of(row.cfa()) else {
            return Rule::UNSUPPORTED;
        };
        let Some(rule) = self.with_return_address(rule, row.register(self.return_address)) else {
            self.unsupported.return_address += 1;
            return Rule::UNSUPPORTED;
        };
        if rule.ra == ra::END {
            return rule;
        }
        if !matches!(
            row.register(X86_64::RSP),
            None | Some(RegisterRule::ValOffset(0))
        ) {
            self.unsupported.stack_pointer += 1;
            return Rule::UNSUPPORTED;
        }
        let rule = self.with_frame_pointer(rule, row.register(X86_64::RBP));
        let bx_offset = match self.follows_bx {
            true => bx_offset(row.register(X86_64::RBX)),
            false => bx::UNKNOWN,
        };
        Rule { bx_offset, ..rule }
    }

    fn cfa_of(&mut self, cfa: &CfaRule<usize>) -> Option<Rule> {
        let shape = match *cfa {
            CfaRule::RegisterAndOffset { register, offset } => Some(Shape::Register {
                register: register.0,
                offset,
            }),
            CfaRule::Expression(expression) => self.shape_of(&expression),
        };
        let Some(shape) = shape else {
            self.unsupported.cfa_expression += 1;
            return None;
        };
        let rule = rule_of(shape);
        match rule {
            Some(rule) if !matches!(rule.cfa_register, 6 | 7) => {
                self.unsupported.leaf_only += 1;
            }
            Some(_) => {}
            None => self.unsupported.cfa_range += 1,
        }
        rule
    }

    fn shape_of(&self, expression: &UnwindExpression<usize>) -> Option<Shape> {
        shape(expression.get(self.section).ok()?, self.encoding)
    }

    fn with_return_address(&self, rule: Rule, saved: Option<RegisterRule<usize>>) -> Option<Rule> {
        match saved? {
            // The CFA of the outermost frame is of no use, so that all such rows are one rule.
            RegisterRule::Undefined => Some(Rule {
                cfa: cfa::REGISTER,
                cfa_register: dwarf::STACK_POINTER,
                ra: ra::END,
                ..Rule::NONE
            }),
            RegisterRule::Offset(offset) => Some(Rule {
                ra: ra::AT_CFA,
                ra_offset: i32::try_from(offset).ok()?,
                ..rule
            }),
            RegisterRule::Register(Register(register)) if is_general(register) => Some(Rule {
                ra: ra::REGISTER,
                ra_offset: register.into(),
                ..rule
            }),
            _ => None,
        }
    }

    fn with_frame_pointer(&mut self, rule: Rule, saved: Option<RegisterRule<usize>>) -> Rule {
        let place = match saved {
            None | Some(RegisterRule::SameValue | RegisterRule::Register(X86_64::RBP)) => {
                Some((fp::SAME, 0))
            }
            Some(RegisterRule::Undefined) => Some((fp::UNDEFINED, 0)),
            Some(RegisterRule::Offset(offset)) => at(fp::AT_CFA, offset),
            Some(RegisterRule::Expression(expression)) => self
                .shape_of(&expression)
                .and_then(|shape| saved_at(shape, &rule)),
            Some(_) => None,
        };
        let (fp, fp_offset) = place.unwrap_or_else(|| {
            self.unsupported.frame_pointer += 1;
            (fp::UNDEFINED, 0)
        });
        Rule {
            fp,
            fp_offset,
            ..rule
        }
    }
}

/// Where `rbx` is saved, as [`bx`] has it.
fn bx_offset(saved: Option<RegisterRule<usize>>) -> i32 {
    match saved {
        None | Some(RegisterRule::SameValue | RegisterRule::Register(X86_64::RBX)) => bx::SAME,
        Some(RegisterRule::Offset(offset)) => match i32::try_from(offset) {
            Ok(offset) if offset != bx::SAME => offset,
            _ => bx::UNKNOWN,
        },
        Some(_) => bx::UNKNOWN,
    }
}

/// The CFA's part of a rule; `None` where a number is too large for it.
fn rule_of(shape: Shape) -> Option<Rule> {
    match shape {
        Shape::Register { register, offset } => register_rule(register, offset),
        Shape::Deref {
            register,
            offset,
            add,
        } => Some(Rule {
            cfa: cfa::DEREF,
            cfa_add: i32::try_from(add).ok()?,
            ..register_rule(register, offset)?
        }),
        Shape::Plt { offset, threshold } => Some(Rule {
            cfa: cfa::PLT,
            cfa_add: i32::try_from(threshold).ok()?,
            ..register_rule(dwarf::STACK_POINTER.into(), offset)?
        }),
    }
}

fn register_rule(register: u16, offset: i64) -> Option<Rule> {
    let number = u8::try_from(register).ok()?;
    let offset = i32::try_from(offset).ok()?;
    is_general(register).then(|| Rule::register(number, offset))
}

fn is_general(register: u16) -> bool {
    register <= dwarf::LAST_GENERAL.into()
}

/// Where an expression says that the frame pointer is saved: `[fp + offset]`, or `[sp + offset]`
/// where the CFA is told from `sp` too.
fn saved_at(shape: Shape, rule: &Rule) -> Option<(u8, i32)> {
    let Shape::Register { register, offset } = shape else {
        return None;
    };
    match u8::try_from(register).ok()? {
        dwarf::FRAME_POINTER => at(fp::AT_FP, offset),
        dwarf::STACK_POINTER
            if rule.cfa == cfa::REGISTER && rule.cfa_register == dwarf::STACK_POINTER =>
        {
            at(fp::AT_CFA, offset.checked_sub(rule.cfa_offset.into())?)
        }
        _ => None,
    }
}

fn at(kind: u8, offset: i64) -> Option<(u8, i32)> {
    Some((kind, i32::try_from(offset).ok()?))
}
