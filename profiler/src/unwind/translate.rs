//! One row of call frame information, as gimli gives it, to a [`Rule`].
//!
//! What no rule can say becomes [`Rule::UNSUPPORTED`] or a frame pointer that is not known, and is
//! counted by its cause.

use abi::unwind::{Machine, Rule, cfa, followed, fp, ra};
use gimli::{
    CfaRule, Encoding, Register, RegisterRule, UnwindContextStorage, UnwindExpression,
    UnwindSection, UnwindTableRow,
};

use super::{
    entries::Reader,
    expressions::{Shape, shape},
    rows::Unsupported,
};

/// What a row is read with.
pub(super) struct Translator<'a, Section> {
    pub(super) machine: &'a Machine,
    pub(super) section: &'a Section,
    pub(super) encoding: Encoding,
    pub(super) return_address: Register,
    pub(super) unsupported: &'a mut Unsupported,
    /// Whether rules tell of the followed register, which makes for more of them.
    pub(super) follows: bool,
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
            row.register(number(self.machine.stack_pointer)),
            None | Some(RegisterRule::ValOffset(0))
        ) {
            self.unsupported.stack_pointer += 1;
            return Rule::UNSUPPORTED;
        }
        let rule = self.with_frame_pointer(rule, row.register(number(self.machine.frame_pointer)));
        let followed_offset = match self.follows && !self.machine.has_link {
            true => self.followed_offset(row.register(number(self.machine.followed))),
            false => followed::UNKNOWN,
        };
        Rule {
            followed_offset,
            ..rule
        }
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
        let rule = self.rule_of(shape);
        match rule {
            Some(rule) if !self.is_carried(rule.cfa_register) => {
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
        match saved.unwrap_or(RegisterRule::SameValue) {
            // Nothing was done with it since the call. Few functions have a link register of their own.
            RegisterRule::SameValue
                if self.machine.has_link && self.is_general(self.return_address.0) =>
            {
                Some(in_register(rule, self.return_address))
            }
            // The CFA of the outermost frame is of no use, so that all such rows are one rule.
            RegisterRule::Undefined => Some(Rule {
                cfa: cfa::REGISTER,
                cfa_register: self.machine.stack_pointer,
                ra: ra::END,
                ..Rule::NONE
            }),
            RegisterRule::Offset(offset) => Some(Rule {
                ra: ra::AT_CFA,
                ra_offset: i32::try_from(offset).ok()?,
                ..rule
            }),
            RegisterRule::Register(register) if self.is_general(register.0) => {
                Some(in_register(rule, register))
            }
            _ => None,
        }
    }

    fn with_frame_pointer(&mut self, rule: Rule, saved: Option<RegisterRule<usize>>) -> Rule {
        let place = match saved {
            None | Some(RegisterRule::SameValue) => Some((fp::SAME, 0)),
            Some(RegisterRule::Register(register))
                if register == number(self.machine.frame_pointer) =>
            {
                Some((fp::SAME, 0))
            }
            Some(RegisterRule::Undefined) => Some((fp::UNDEFINED, 0)),
            Some(RegisterRule::Offset(offset)) => at(fp::AT_CFA, offset),
            Some(RegisterRule::Expression(expression)) => self
                .shape_of(&expression)
                .and_then(|shape| self.saved_at(shape, &rule)),
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

    /// Where the followed register is saved, as [`followed`] has it.
    fn followed_offset(&self, saved: Option<RegisterRule<usize>>) -> i32 {
        match saved {
            None | Some(RegisterRule::SameValue) => followed::SAME,
            Some(RegisterRule::Register(register)) if register == number(self.machine.followed) => {
                followed::SAME
            }
            Some(RegisterRule::Offset(offset)) => match i32::try_from(offset) {
                Ok(offset) if offset != followed::SAME => offset,
                _ => followed::UNKNOWN,
            },
            Some(_) => followed::UNKNOWN,
        }
    }

    /// The CFA's part of a rule; `None` where a number is too large for it.
    fn rule_of(&self, shape: Shape) -> Option<Rule> {
        match shape {
            Shape::Register { register, offset } => self.register_rule(register, offset),
            Shape::Deref {
                register,
                offset,
                add,
            } => Some(Rule {
                cfa: cfa::DEREF,
                cfa_add: i32::try_from(add).ok()?,
                ..self.register_rule(register, offset)?
            }),
            Shape::Plt { offset, threshold } => Some(Rule {
                cfa: cfa::PLT,
                cfa_add: i32::try_from(threshold).ok()?,
                ..self.register_rule(self.machine.stack_pointer.into(), offset)?
            }),
        }
    }

    fn register_rule(&self, register: u16, offset: i64) -> Option<Rule> {
        let number = u8::try_from(register).ok()?;
        let offset = i32::try_from(offset).ok()?;
        self.is_general(register)
            .then(|| Rule::register(number, offset))
    }

    fn is_general(&self, register: u16) -> bool {
        register <= self.machine.last_general.into()
    }

    /// Whether a walk knows a register in every frame.
    fn is_carried(&self, register: u8) -> bool {
        register == self.machine.stack_pointer || register == self.machine.frame_pointer
    }

    /// Where an expression says that the frame pointer is saved: `[fp + offset]`, or `[sp + offset]`
    /// where the CFA is told from `sp` too.
    fn saved_at(&self, shape: Shape, rule: &Rule) -> Option<(u8, i32)> {
        let Shape::Register { register, offset } = shape else {
            return None;
        };
        let sp = self.machine.stack_pointer;
        match u8::try_from(register).ok()? {
            register if register == self.machine.frame_pointer => at(fp::AT_FP, offset),
            register if register == sp && rule.cfa == cfa::REGISTER && rule.cfa_register == sp => {
                at(fp::AT_CFA, offset.checked_sub(rule.cfa_offset.into())?)
            }
            _ => None,
        }
    }
}

fn number(register: u8) -> Register {
    Register(register.into())
}

fn in_register(rule: Rule, register: Register) -> Rule {
    Rule {
        ra: ra::REGISTER,
        ra_offset: register.0.into(),
        ..rule
    }
}

fn at(kind: u8, offset: i64) -> Option<(u8, i32)> {
    Some((kind, i32::try_from(offset).ok()?))
}
