//! The kernel's own lists of its code: `/proc/kallsyms` and `/proc/modules`.
//!
//! Pure: text in, tables out. What an address is called is decided in [`super`].

use std::io::{self, BufRead};
use std::ops::Range;

/// On 64-bit machines the kernel has the upper half of the addresses. The list of symbols begins
/// with small numbers, of data of each CPU, that are no addresses.
pub(super) const FIRST_KERNEL_ADDRESS: u64 = 1 << 63;

/// A line has an address, a letter, a name of at most 512 bytes and a module of at most 56.
const MAX_LINE_BYTES: u64 = 4096;

/// The kernel's code between two symbols each.
const CORE_CODE: [(&str, &str); 2] = [("_stext", "_etext"), ("_sinittext", "_einittext")];

/// Whose code a symbol is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The kernel's image.
    Core,
    /// What the kernel writes while it runs: BPF programs (`[bpf]`), the code of tracing
    /// (`[__builtin__ftrace]`).
    Generated,
    /// A module, by its place in [`Symbols::modules`].
    Module(u16),
}

/// A name at an address; it ends where the next one begins, or earlier.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) address: u64,
    /// Where the name begins in [`Symbols::text`].
    name: u32,
    name_bytes: u16,
    pub(super) owner: Owner,
}

/// The symbols of code, in the order of their addresses.
#[derive(Clone, Debug, Default)]
pub(super) struct Symbols {
    entries: Vec<Entry>,
    text: String,
    modules: Vec<String>,
    /// Where the kernel's own code is; empty where the marks of it are not listed.
    pub(super) core: Vec<Range<u64>>,
    /// Whether there were lines whose address is zero, which stands for one that is hidden.
    pub(super) is_hidden: bool,
}

impl Symbols {
    /// Reads lines of `address type name [module]`, of which those of code are kept.
    pub(super) fn parse(mut list: impl BufRead) -> io::Result<Self> {
        let mut symbols = Self::default();
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut bounded = io::Read::take(&mut list, MAX_LINE_BYTES);
            if bounded.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            if let Some(fields) = std::str::from_utf8(&line).ok().and_then(fields) {
                symbols.add(fields);
            }
        }
        // Of several names for one address the first is taken: the sort keeps their order.
        symbols.entries.sort_by_key(|entry| entry.address);
        let core = CORE_CODE
            .into_iter()
            .filter_map(|(start, end)| Some(symbols.address_of(start)?..symbols.address_of(end)?));
        symbols.core = core.collect();
        symbols.entries.dedup_by_key(|entry| entry.address);
        symbols.entries.shrink_to_fit();
        Ok(symbols)
    }

    fn add(&mut self, (address, name, module): Fields<'_>) {
        self.is_hidden |= address == 0;
        let owner = self.owner(module);
        if address < FIRST_KERNEL_ADDRESS {
            return;
        }
        let (Ok(start), Ok(name_bytes)) = (self.text.len().try_into(), name.len().try_into())
        else {
            return;
        };
        self.text.push_str(name);
        self.entries.push(Entry {
            address,
            name: start,
            name_bytes,
            owner,
        });
    }

    fn owner(&mut self, module: Option<&str>) -> Owner {
        let Some(module) = module else {
            return Owner::Core;
        };
        if module == "bpf" || module.starts_with("__builtin__") {
            return Owner::Generated;
        }
        // A module's symbols stand together, so the last one is nearly always the one.
        let place = self.modules.iter().rposition(|known| known == module);
        let place = place.unwrap_or_else(|| {
            self.modules.push(module.to_owned());
            self.modules.len() - 1
        });
        u16::try_from(place).map_or(Owner::Generated, Owner::Module)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn name(&self, entry: &Entry) -> &str {
        let start = entry.name as usize;
        &self.text[start..start + usize::from(entry.name_bytes)]
    }

    /// The name of a module that a symbol is of.
    pub(super) fn module(&self, number: u16) -> &str {
        &self.modules[usize::from(number)]
    }

    /// The last symbol that begins at an address or before it, and where the next one begins.
    pub(super) fn before(&self, address: u64) -> Option<(&Entry, u64)> {
        let next = self
            .entries
            .partition_point(|entry| entry.address <= address);
        let entry = self.entries.get(next.checked_sub(1)?)?;
        let end = self.entries.get(next).map_or(u64::MAX, |next| next.address);
        Some((entry, end))
    }

    /// The address of the kernel's own symbol of this name, as long as second names are there too.
    fn address_of(&self, name: &str) -> Option<u64> {
        let mut core = self
            .entries
            .iter()
            .filter(|entry| entry.owner == Owner::Core);
        let found = core.find(|entry| self.name(entry) == name)?;
        Some(found.address)
    }
}

/// Address, name and module.
type Fields<'a> = (u64, &'a str, Option<&'a str>);

/// The fields of a line that is one of code.
fn fields(line: &str) -> Option<Fields<'_>> {
    let mut fields = line.split_ascii_whitespace();
    let address = u64::from_str_radix(fields.next()?, 16).ok()?;
    let is_code = matches!(fields.next()?, "t" | "T" | "w" | "W");
    let name = fields.next()?;
    let module = fields.next().and_then(|field| {
        let inner = field.strip_prefix('[')?;
        inner.strip_suffix(']')
    });
    is_code.then_some((address, name, module))
}

/// Where a module is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Module {
    pub(super) name: String,
    pub(super) start: u64,
    pub(super) bytes: u64,
}

/// Reads lines of `name bytes uses users state address`; a module whose address is hidden is left
/// out.
pub(super) fn modules(list: &str) -> Vec<Module> {
    let module = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let name = fields.next()?.to_owned();
        let bytes = fields.next()?.parse().ok()?;
        let address = fields.nth(3)?.strip_prefix("0x")?;
        let start = u64::from_str_radix(address, 16)
            .ok()
            .filter(|&start| start != 0)?;
        Some(Module { name, start, bytes })
    };
    list.lines().filter_map(module).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "0000000000000040 A data_of_a_cpu\n\
                        ffffffff81000000 T _stext\n\
                        ffffffff81000000 t alias\n\
                        ffffffff81000100 D data\n\
                        ffffffff81000200 W weak\n\
                        ffffffffc0000000 t in_module\t[ext4]\n\
                        broken line\n\
                        ffffffffc0001000 t bpf_prog_1_x\t[bpf]\n";

    fn parse(list: &str) -> Symbols {
        Symbols::parse(list.as_bytes()).unwrap()
    }

    /// Code is kept with its owner; data, small numbers, second names and broken lines are not.
    #[test]
    fn symbols_are_those_of_code() {
        let symbols = parse(LIST);
        let kept = symbols.entries.iter();
        let kept = kept.map(|entry| (symbols.name(entry), entry.owner));
        let kept: Vec<_> = kept.collect();
        let expected = [
            ("_stext", Owner::Core),
            ("weak", Owner::Core),
            ("in_module", Owner::Module(0)),
            ("bpf_prog_1_x", Owner::Generated),
        ];
        assert_eq!(kept, expected);
        assert_eq!(symbols.module(0), "ext4");
        assert!(!symbols.is_hidden && parse("0000000000000000 T _stext\n").is_hidden);
    }

    /// A list that is cut anywhere, or has a line without an end, is read as far as it makes sense.
    #[test]
    fn cut_lists_are_read() {
        for end in 0..LIST.len() {
            assert!(parse(&LIST[..end]).entries.len() <= 4);
        }
        let endless = format!("ffffffff81000000 T {}", "x".repeat(1 << 20));
        let symbols = parse(&endless);
        assert!(
            symbols
                .entries
                .iter()
                .all(|entry| symbols.name(entry).len() <= 4096)
        );
    }

    /// Modules have a place and a size; one whose address is hidden has neither.
    #[test]
    fn modules_have_a_place() {
        let list = "ext4 4096 1 - Live 0xffffffffc0000000\n\
                    jbd2 4096 1 ext4, Live 0x0000000000000000\nodd\n";
        let expected = Module {
            name: "ext4".to_owned(),
            start: 0xffff_ffff_c000_0000,
            bytes: 4096,
        };
        assert_eq!(modules(list), [expected]);
    }
}
