//! Names for addresses in the running kernel, its modules and BPF programs.

use std::fmt;
use std::fs::File;
use std::io::Read;

use blazesym::MaybeDefault;
use blazesym::symbolize::source::{Kernel, Source};
use blazesym::symbolize::{Input, Symbolizer};
use object::NativeEndian;
use object::elf::FileHeader64;
use object::read::elf::NoteIterator;

use crate::answer::{ask, each_once};
use crate::elf::build_id_among;
use crate::{Miss, Symbol};

/// On 64-bit machines the kernel has the upper half of the addresses.
const FIRST_KERNEL_ADDRESS: u64 = 1 << 63;

/// The kernel writes a few hundred bytes of notes.
const MAX_NOTES_BYTES: u64 = 64 * 1024;

/// The kernel's symbols as `/proc/kallsyms` listed them at the first call of
/// [`KernelNames::resolve`]. To see modules and BPF programs that were loaded later, make a new
/// one.
pub struct KernelNames {
    symbolizer: Symbolizer,
    source: Source<'static>,
}

impl KernelNames {
    /// Names from `/proc/kallsyms`, which is not read yet.
    pub fn new() -> Self {
        // Without `vmlinux`: it names the same functions, and needs the KASLR offset.
        let source = Kernel {
            vmlinux: MaybeDefault::None,
            debug_syms: false,
            ..Kernel::default()
        };
        let symbolizer = Symbolizer::builder()
            .enable_auto_reload(false)
            .enable_code_info(false)
            .enable_inlined_fns(false)
            .enable_demangling(false)
            .build();
        KernelNames {
            symbolizer,
            source: source.into(),
        }
    }

    /// Names for kernel addresses, in their order.
    ///
    /// `/proc/kallsyms` has no sizes: a name covers all up to the next one.
    pub fn resolve(&self, addresses: &[u64]) -> Vec<Result<Symbol, Miss>> {
        each_once(addresses, |addresses| {
            // The list begins with small numbers that are no addresses, and the last of them
            // would cover all of user space.
            let user = addresses.partition_point(|&address| address < FIRST_KERNEL_ADDRESS);
            let kernel = ask(
                &self.symbolizer,
                &self.source,
                Input::AbsAddr(&addresses[user..]),
            );
            let mut answers = vec![Err(Miss::NotCovered); user];
            answers.extend(kernel.into_iter().map(|answer| match answer {
                // blazesym skips symbols at address zero, so that a list of zeros is empty.
                Err(Miss::NoSymbols) => Err(Miss::KernelAddressesHidden),
                answer => answer,
            }));
            answers
        })
    }
}

impl Default for KernelNames {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for KernelNames {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("KernelNames")
            .finish_non_exhaustive()
    }
}

/// The build id of the running kernel, from `/sys/kernel/notes`.
pub fn kernel_build_id() -> Option<Vec<u8>> {
    let mut notes = Vec::new();
    let file = File::open("/sys/kernel/notes").ok()?;
    file.take(MAX_NOTES_BYTES).read_to_end(&mut notes).ok()?;
    let notes = NoteIterator::<FileHeader64<NativeEndian>>::new(NativeEndian, 4, &notes).ok()?;
    build_id_among(notes, NativeEndian)
}
