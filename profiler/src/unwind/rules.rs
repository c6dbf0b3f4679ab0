//! Rules by number: each distinct rule once.

use std::collections::HashMap;

use abi::unwind::{Machine, Rule, table::rule_number};

/// The most rules of a set, those of every table included: numbers have 16 bits.
pub const MAX_RULES: usize = 1 << 16;

/// The rules that every set of a machine begins with, by [`rule_number`].
const fn reserved(machine: &Machine) -> [Rule; rule_number::FIRST_FREE as usize] {
    [
        Rule::NONE,
        Rule::frame_pointer(machine),
        Rule::signal(machine),
        Rule::UNSUPPORTED,
    ]
}

/// Distinct rules, numbered in the order in which they came.
#[derive(Clone, Debug)]
pub struct RuleSet {
    rules: Vec<Rule>,
    numbers: HashMap<Rule, u16>,
    last: (Rule, u16),
}

impl Default for RuleSet {
    /// A set for this machine.
    fn default() -> Self {
        Self::new(&Machine::NATIVE)
    }
}

impl RuleSet {
    /// A set with the reserved rules alone.
    #[must_use]
    pub fn new(machine: &Machine) -> Self {
        let reserved = reserved(machine);
        RuleSet {
            rules: reserved.to_vec(),
            numbers: reserved.into_iter().zip(0..).collect(),
            last: (Rule::NONE, rule_number::NONE),
        }
    }

    /// The number of a rule, a new one where it has none; `None` where all numbers are given.
    pub fn intern(&mut self, rule: Rule) -> Option<u16> {
        if self.last.0 == rule {
            return Some(self.last.1);
        }
        let number = match self.numbers.get(&rule) {
            Some(&number) => number,
            None => self.add(rule)?,
        };
        self.last = (rule, number);
        Some(number)
    }

    fn add(&mut self, rule: Rule) -> Option<u16> {
        let number = u16::try_from(self.rules.len()).ok()?;
        self.rules.push(rule);
        self.numbers.insert(rule, number);
        Some(number)
    }

    /// The rules, by number.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rules, by number, without the means to add another.
    #[must_use]
    pub fn into_rules(self) -> Vec<Rule> {
        self.rules
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Equal rules share a number, and the reserved ones have theirs from the beginning.
    #[test]
    fn equal_rules_share_a_number() {
        let mut set = RuleSet::new(&Machine::X86_64);
        let signal = Rule::signal(&Machine::X86_64);
        assert_eq!(set.intern(signal), Some(rule_number::SIGNAL));
        let first = set.intern(Rule::register(7, 8));
        assert_eq!(first, Some(rule_number::FIRST_FREE));
        assert_ne!(set.intern(Rule::register(7, 16)), first);
        assert_eq!(set.intern(Rule::register(7, 8)), first);
        assert_eq!(set.rules().len(), 6);
    }

    /// The set takes as many rules as 16 bits can number, and refuses the next.
    #[test]
    fn a_full_set_refuses() {
        let mut set = RuleSet::default();
        for offset in 4..MAX_RULES as i32 {
            assert_eq!(set.intern(Rule::register(7, offset)), Some(offset as u16));
        }
        assert_eq!(set.intern(Rule::register(7, -1)), None);
        assert_eq!(set.intern(Rule::register(7, 4)), Some(4));
    }
}
