//! The kernel's code during a recording: its symbols, which are read again where modules came or went,
//! and BPF programs that did.

use std::{
    collections::HashMap,
    thread::{self, JoinHandle},
};

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
    /// What there was at the beginning, while it is being read.
    first: Option<JoinHandle<KernelNames>>,
    names: KernelNames,
}

impl KernelCode {
    /// To be called before sampling begins, when the programs that sample are loaded. The list is read
    /// beside all else: who waits for the picture does not wait for it.
    pub fn begin(&mut self) {
        self.first = Some(thread::spawn(KernelNames::read));
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
        let first = self.first.take().and_then(|first| first.join().ok());
        let names = match first {
            Some(first) if first.is_current() => first,
            first => KernelNames::read().with_earlier(first),
        };
        self.names = names.with_images(images.into_values());
    }

    /// What is known up to now, for stacks that were taken up to now.
    #[must_use]
    pub fn window(&mut self) -> Self {
        let first = self.first.take().and_then(|first| first.join().ok());
        self.names = match first.unwrap_or_else(|| std::mem::take(&mut self.names)) {
            names if names.is_current() => names,
            names => KernelNames::read().with_earlier(Some(names.without_earlier())),
        };
        let mut images = self.told.clone();
        for loaded in bpf::images() {
            images.entry(loaded.start).or_insert(loaded);
        }
        Self {
            names: self.names.clone().with_images(images.into_values()),
            dropped: std::mem::take(&mut self.dropped),
            ..Self::default()
        }
    }

    /// Names for addresses, in their order.
    #[must_use]
    pub fn resolve(&self, addresses: &[u64]) -> Vec<Result<Symbol, Miss>> {
        self.names.resolve(addresses)
    }
}
