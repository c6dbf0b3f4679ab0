//! Names for addresses in the running kernel, its modules and BPF programs.
//!
//! The lists are read here and not by blazesym: that takes every address beyond a symbol for a
//! part of it, so that the code of a BPF program which has gone would be called by the last
//! function below, and it has no place for what the kernel told of code that has gone.

mod lists;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::ops::Range;
use std::sync::Arc;

use object::NativeEndian;
use object::elf::FileHeader64;
use object::read::elf::NoteIterator;

use crate::elf::build_id_among;
use crate::symbol::Function;
use crate::{Miss, Symbol};
use lists::{Entry, FIRST_KERNEL_ADDRESS, Owner, Symbols};

/// The kernel writes a few hundred bytes of notes.
const MAX_NOTES_BYTES: u64 = 64 * 1024;

/// What the kernel writes and of which nobody told a size, such as trampolines, takes a page.
const GENERATED_BYTES: u64 = 4096;

/// Code that the kernel made while it ran: a BPF program, a trampoline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelImage {
    /// Its first address.
    pub start: u64,
    /// How long it is, in bytes.
    pub bytes: u64,
    /// What the kernel calls it, such as `bpf_prog_6deef7357e7b4530_name`; empty where the list of
    /// symbols has it.
    pub name: String,
}

/// The kernel's symbols as they were at one moment, and what was told of code that came and went.
///
/// Plain data: it can be taken while the code is there and asked when it has gone.
#[derive(Clone, Debug, Default)]
pub struct KernelNames {
    symbols: Arc<Symbols>,
    modules: HashMap<String, Range<u64>>,
    /// In the order of their starts; of equal ones the last was told last.
    images: Vec<KernelImage>,
    /// The symbols at an earlier moment.
    earlier: Option<Box<KernelNames>>,
    is_unreadable: bool,
}

impl KernelNames {
    /// Reads what there is at this moment.
    #[must_use]
    pub fn read() -> Self {
        let modules = modules();
        let symbols = File::open("/proc/kallsyms")
            .and_then(|list| Symbols::parse(BufReader::with_capacity(1 << 16, list)));
        let is_unreadable = symbols.is_err();
        Self {
            is_unreadable,
            ..Self::new(symbols.unwrap_or_default(), &modules)
        }
    }

    /// Whether the kernel still has the modules that it had. What else comes and goes it tells of.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.modules == ranges(&modules())
    }

    fn new(symbols: Symbols, modules: &str) -> Self {
        Self {
            modules: ranges(modules),
            symbols: Arc::new(symbols),
            ..Self::default()
        }
    }

    /// Adds code that the kernel told of, in the order in which it did.
    #[must_use]
    pub fn with_images(mut self, images: impl IntoIterator<Item = KernelImage>) -> Self {
        self.images.extend(images);
        self.images.sort_by_key(|image| image.start);
        self
    }

    /// Adds what was read earlier, for what has gone since.
    #[must_use]
    pub fn with_earlier(mut self, earlier: Option<Self>) -> Self {
        self.earlier = earlier.map(Box::new);
        self
    }

    /// Without what was read before this.
    #[must_use]
    pub fn without_earlier(self) -> Self {
        Self {
            earlier: None,
            ..self
        }
    }

    /// Names for kernel addresses, in their order.
    #[must_use]
    pub fn resolve(&self, addresses: &[u64]) -> Vec<Result<Symbol, Miss>> {
        let symbol = |&address: &u64| {
            let name = self.name(address)?;
            let functions = vec![Function::new(name, None)];
            Ok(Symbol { functions })
        };
        addresses.iter().map(symbol).collect()
    }

    fn name(&self, address: u64) -> Result<&str, Miss> {
        if address < FIRST_KERNEL_ADDRESS {
            return Err(Miss::NotCovered);
        }
        let earlier = || {
            let earlier = self.earlier.as_ref();
            earlier.and_then(|earlier| earlier.listed(address))
        };
        self.told(address)
            .or_else(|| self.listed(address))
            .or_else(earlier)
            .ok_or_else(|| self.miss())
    }

    /// The name of code that the kernel told of.
    fn told(&self, address: u64) -> Option<&str> {
        let image = self.image(address)?;
        match image.name.as_str() {
            "" => {
                let (entry, _) = self.symbols.before(image.start)?;
                (entry.address == image.start).then(|| self.symbols.name(entry))
            }
            name => Some(name),
        }
    }

    fn image(&self, address: u64) -> Option<&KernelImage> {
        let after = self.images.partition_point(|image| image.start <= address);
        // Whatever begins last is the latest, as far as nothing tells when a sample was taken.
        let image = self.images.get(after.checked_sub(1)?)?;
        (address - image.start < image.bytes).then_some(image)
    }

    /// The name in the list of symbols, which has no sizes.
    fn listed(&self, address: u64) -> Option<&str> {
        let (entry, next) = self.symbols.before(address)?;
        (address < next.min(self.end(entry))).then(|| self.symbols.name(entry))
    }

    /// Where the code that a symbol belongs to ends at the latest.
    fn end(&self, entry: &Entry) -> u64 {
        match entry.owner {
            Owner::Core => {
                let mut core = self.symbols.core.iter();
                let range = core.find(|range| range.contains(&entry.address));
                // A kernel without these marks has nothing to go by.
                let unknown = if self.symbols.core.is_empty() {
                    u64::MAX
                } else {
                    0
                };
                range.map_or(unknown, |range| range.end)
            }
            Owner::Generated => {
                let image = self.image(entry.address);
                let bytes = image.map_or(GENERATED_BYTES, |image| image.bytes);
                entry.address.saturating_add(bytes)
            }
            Owner::Module(number) => {
                let range = self.modules.get(self.symbols.module(number));
                range.map_or(u64::MAX, |range| range.end)
            }
        }
    }

    fn miss(&self) -> Miss {
        match (self.symbols.is_empty(), self.symbols.is_hidden) {
            (true, true) => Miss::KernelAddressesHidden,
            (true, false) if self.is_unreadable => Miss::Unreadable,
            (true, false) => Miss::NoSymbols,
            (false, _) => Miss::NotCovered,
        }
    }
}

/// The kernel's list of its modules; one that cannot load any has none.
fn modules() -> String {
    fs::read_to_string("/proc/modules").unwrap_or_default()
}

/// Where each of them is.
fn ranges(modules: &str) -> HashMap<String, Range<u64>> {
    let modules = lists::modules(modules).into_iter();
    let range = |module: lists::Module| {
        let end = module.start.saturating_add(module.bytes);
        (module.name, module.start..end)
    };
    modules.map(range).collect()
}

/// The build id of the running kernel, from `/sys/kernel/notes`.
pub fn kernel_build_id() -> Option<Vec<u8>> {
    let mut notes = Vec::new();
    let file = File::open("/sys/kernel/notes").ok()?;
    file.take(MAX_NOTES_BYTES).read_to_end(&mut notes).ok()?;
    let notes = NoteIterator::<FileHeader64<NativeEndian>>::new(NativeEndian, 4, &notes).ok()?;
    build_id_among(notes, NativeEndian)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYMBOLS: &str = "ffffffff81000000 T another\n\
                           ffffffff81000000 T _stext\n\
                           ffffffff81000100 T work\n\
                           ffffffff81000200 T _etext\n\
                           ffffffffc0000000 t in_module\t[ext4]\n\
                           ffffffffc0008000 t bpf_prog_1_listed\t[bpf]\n";
    const MODULES: &str = "ext4 8192 1 - Live 0xffffffffc0000000\n";

    fn names(symbols: &str, modules: &str) -> KernelNames {
        KernelNames::new(Symbols::parse(symbols.as_bytes()).unwrap(), modules)
    }

    fn image(start: u64, bytes: u64, name: &str) -> KernelImage {
        let name = name.to_owned();
        KernelImage { start, bytes, name }
    }

    /// Nothing is called by a symbol whose code has ended: not beyond the kernel's text, not beyond
    /// a module, not beyond a page of generated code.
    #[test]
    fn code_ends() {
        let names = names(SYMBOLS, MODULES);
        let name = |address| names.name(address);
        assert_eq!(name(0xffff_ffff_8100_01ff), Ok("work"));
        assert_eq!(name(0xffff_ffff_8100_0200), Err(Miss::NotCovered));
        assert_eq!(name(0xffff_ffff_c000_1fff), Ok("in_module"));
        assert_eq!(name(0xffff_ffff_c000_2000), Err(Miss::NotCovered));
        assert_eq!(name(0xffff_ffff_c000_8fff), Ok("bpf_prog_1_listed"));
        assert_eq!(name(0xffff_ffff_c000_9000), Err(Miss::NotCovered));
        assert_eq!(name(0xffff_ffff_8000_0000), Err(Miss::NotCovered));
        assert_eq!(name(0x7fff_0000_0000), Err(Miss::NotCovered));
    }

    /// What the kernel told of goes before the list, has its exact size, and of two programs at one
    /// address the last is taken.
    #[test]
    fn told_code_is_exact() {
        let names = names(SYMBOLS, MODULES).with_images([
            image(0xffff_ffff_c000_8000, 0x2000, ""),
            image(0xffff_ffff_c100_0000, 0x80, "bpf_prog_2_gone"),
            image(0xffff_ffff_c100_0000, 0x40, "bpf_prog_3_later"),
        ]);
        let name = |address| names.name(address);
        assert_eq!(name(0xffff_ffff_c000_9fff), Ok("bpf_prog_1_listed"));
        assert_eq!(name(0xffff_ffff_c000_a000), Err(Miss::NotCovered));
        assert_eq!(name(0xffff_ffff_c100_003f), Ok("bpf_prog_3_later"));
        assert_eq!(name(0xffff_ffff_c100_0040), Err(Miss::NotCovered));
    }

    /// A module that has gone is known from the earlier list.
    #[test]
    fn modules_that_went_are_named() {
        let now = "ffffffff81000000 T _stext\nffffffff81000200 T _etext\n";
        let names = names(now, "").with_earlier(Some(names(SYMBOLS, MODULES)));
        assert_eq!(names.name(0xffff_ffff_c000_0010), Ok("in_module"));
    }

    /// A list of zeros is hidden, and an empty one has no symbols.
    #[test]
    fn reasons() {
        let reason = |list| names(list, "").name(u64::MAX).err();
        assert_eq!(
            reason("0000000000000000 T _stext\n"),
            Some(Miss::KernelAddressesHidden)
        );
        assert_eq!(reason(""), Some(Miss::NoSymbols));
    }
}
