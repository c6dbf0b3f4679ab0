//! The kernel's code during a recording: its symbols, modules that were there at the beginning, and
//! BPF programs that came or went.

use std::collections::HashMap;

use symbolizer::{KernelImage, KernelNames, Miss, Symbol};

use crate::bpf;

/// Places at which code was made that are kept; each takes a few hundred bytes.
const MAX_TOLD: usize = 1 << 16;

/// What is known of it.
#[derive(Debug, Default)]
pub struct KernelCode {
    /// What the side-band told, by where it begins. Of several at one place the last is kept: a
    /// stack does not tell when it was taken.
    told: HashMap<u64, KernelImage>,
    /// Places beyond the bound.
    pub dropped: u64,
    modules: Option<KernelNames>,
    names: KernelNames,
}

impl KernelCode {
    /// To be called before sampling begins.
    pub fn begin(&mut self) {
        self.modules = KernelNames::read_modules();
    }

    /// Takes in code that was made or is about to go.
    pub fn take(&mut self, image: KernelImage) {
        if self.told.len() < MAX_TOLD || self.told.contains_key(&image.start) {
            self.told.insert(image.start, image);
        } else {
            self.dropped += 1;
        }
    }

    /// To be called when sampling has ended and the programs that sampled are still loaded. Without it
    /// there are no names.
    pub fn end(&mut self) {
        let mut images = std::mem::take(&mut self.told);
        for loaded in bpf::images() {
            images.entry(loaded.start).or_insert(loaded);
        }
        self.names = KernelNames::read()
            .with_images(images.into_values())
            .with_earlier(self.modules.take());
    }

    /// Names for addresses, in their order.
    #[must_use]
    pub fn resolve(&self, addresses: &[u64]) -> Vec<Result<Symbol, Miss>> {
        self.names.resolve(addresses)
    }
}
