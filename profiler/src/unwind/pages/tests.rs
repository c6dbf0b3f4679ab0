use abi::unwind::{
    Rule,
    table::{find, row_rule},
};

use super::*;

/// A table whose rules are told apart by their offset; rule `n` of a row is `Rule::register(7, n)`,
/// and 0 is none.
fn table(rows: &[(u32, i32)]) -> Rows {
    let mut rules = RuleSet::default();
    let rows = rows.iter().map(|&(start, rule)| Row {
        start,
        rule: match rule {
            0 => rule_number::NONE,
            offset => rules.intern(Rule::register(7, offset)).unwrap(),
        },
    });
    Rows {
        rows: rows.collect(),
        rules: rules.into_rules(),
    }
}

/// The rule at a file offset, by the search that the kernel runs.
fn rule_at(pages: &Pages, rules: &RuleSet, offset: u32) -> Rule {
    let entry = pages.entry(offset >> PAGE_BITS);
    let number = find(entry, offset as u16, |block| {
        pages.blocks.get(block as usize)
    })
    .unwrap();
    rules.rules()[usize::from(number)]
}

/// A small generator of numbers (xorshift64*), so that every run tests the same tables.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % bound
    }
}

/// The kernel's search finds at and around every row what the rows say, for sparse and for crowded
/// tables, in the numbers of a set that has other tables' rules too.
#[test]
fn the_search_finds_what_the_rows_say() {
    let mut random = Random(99);
    for widest_gap in [2, 9, 40, 900, 70_000] {
        let mut start = random.below(200_000) as u32;
        let mut rows = Vec::new();
        for _ in 0..3000 {
            rows.push((start, random.below(50) as i32));
            start += 1 + random.below(widest_gap) as u32;
        }
        rows.push((start, 0));
        let table = table(&rows);
        let mut rules = RuleSet::default();
        rules.intern(Rule::register(6, 16)).unwrap();
        let pages = build(&table, &mut rules);
        assert_eq!(pages.counts, PageCounts::default());
        for (index, row) in table.rows.iter().enumerate() {
            let said = table.rules[usize::from(row.rule)];
            let before = index.checked_sub(1).map(|index| table.rows[index].rule);
            let before = table.rules[usize::from(before.unwrap_or(rule_number::NONE))];
            assert_eq!(rule_at(&pages, &rules, row.start), said);
            assert_eq!(rule_at(&pages, &rules, row.start.saturating_sub(1)), before);
        }
    }
}

/// A rule holds on through pages without a row of their own; pages without any rule have no block.
#[test]
fn a_rule_holds_through_pages_without_rows() {
    let table = table(&[(0x1_0010, 8), (0x4_0010, 0), (0x9_0000, 16), (0x9_0100, 0)]);
    let mut rules = RuleSet::default();
    let pages = build(&table, &mut rules);
    assert_eq!(pages.first_page, 1);
    assert_eq!((pages.entries.len(), pages.blocks.len()), (9, 5));
    for (offset, rule) in [
        (0x1_000f, Rule::NONE),
        (0x1_ffff, Rule::register(7, 8)),
        (0x3_8000, Rule::register(7, 8)),
        (0x4_000f, Rule::register(7, 8)),
        (0x4_0010, Rule::NONE),
        (0x5_0000, Rule::NONE),
        (0x9_0000, Rule::register(7, 16)),
        (0xf_0000, Rule::NONE),
    ] {
        assert_eq!(rule_at(&pages, &rules, offset), rule, "{offset:#x}");
    }
}

/// Of a page with too many rows the last ones are left out and counted; their code shows as
/// unsupported, and the next page is whole.
#[test]
fn a_crowded_page_is_cut() {
    let rows: Vec<_> = (0..9000).map(|row| (row * 7, 1 + row as i32 % 3)).collect();
    let rows = [rows.as_slice(), &[(0x1_0000, 8), (0x1_1000, 0)]].concat();
    let mut rules = RuleSet::default();
    let pages = build(&table(&rows), &mut rules);
    assert_eq!(pages.counts.crowded_pages, 1);
    assert_eq!(pages.counts.crowded_rows, 9000 - 8191);
    assert_eq!(pages.entry(0).rows as usize, MAX_PAGE_ROWS);
    assert_eq!(rule_at(&pages, &rules, 8190 * 7), Rule::register(7, 1));
    assert_eq!(rule_at(&pages, &rules, 8191 * 7), Rule::UNSUPPORTED);
    assert_eq!(rule_at(&pages, &rules, 0x1_0000), Rule::register(7, 8));
}

/// Where all numbers for rules are given, rows with further rules show as unsupported and are
/// counted; those with known rules are as ever.
#[test]
fn a_full_set_of_rules_costs_only_new_rules() {
    let mut rules = RuleSet::default();
    for offset in 0.. {
        if rules.intern(Rule::register(6, offset)).is_none() {
            break;
        }
    }
    let mut table = table(&[(0, 8), (16, 16), (32, 0)]);
    table.rules[usize::from(rule_number::FIRST_FREE)] = Rule::register(6, 1);
    let pages = build(&table, &mut rules);
    assert_eq!(pages.counts.rules_full, 1);
    assert_eq!(rule_at(&pages, &rules, 0), Rule::register(6, 1));
    assert_eq!(rule_at(&pages, &rules, 16), Rule::UNSUPPORTED);
}

/// A file without rows, and one whose rows say nothing, give no pages.
#[test]
fn nothing_gives_no_pages() {
    for rows in [&[][..], &[(5, 0)]] {
        let pages = build(&table(rows), &mut RuleSet::default());
        assert_eq!(pages, Pages::default());
    }
}

/// Blocks are filled with what no search looks at behind their last row.
#[test]
fn blocks_are_filled() {
    let pages = build(&table(&[(0, 8), (16, 0)]), &mut RuleSet::default());
    let rules = pages.blocks[0].map(row_rule);
    assert_eq!(rules[..2], [rule_number::FIRST_FREE, rule_number::NONE]);
    assert!(pages.blocks[0][2..].iter().all(|&row| row == UNUSED));
}
