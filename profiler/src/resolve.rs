//! From counts of located stacks to a profile of names. Each distinct offset is named once.

use std::collections::{BTreeSet, HashMap};

use abi::{
    reasons::StackEnd,
    records::{UserFrame, file},
    samples::{SampleCount, SampleKey, StackHash},
};
use output::{
    Frame, FrameId, FrameKind, Function, Labels, Line, Mapping, MappingId, MappingKind, Profile,
};
use symbolizer::{Detail, KernelNames, Miss, Symbol};

use crate::{decode::Stack, files::Files};

/// All that the kernel sent in one recording.
#[derive(Debug, Default)]
pub struct Collected {
    /// How often each thread was found with each pair of stacks.
    pub counts: HashMap<SampleKey, SampleCount>,
    /// What the user halves stand for.
    pub user: HashMap<StackHash, Stack<UserFrame>>,
    /// What the kernel halves stand for.
    pub kernel: HashMap<StackHash, Stack<u64>>,
    /// The files that the user stacks name.
    pub files: Files,
}

impl Collected {
    /// Samples whose stack never arrived because the ring was full.
    #[must_use]
    pub fn unsent(&self) -> u64 {
        let lost = self.counts.iter().filter(|(key, _)| !self.has_stacks(key));
        lost.map(|(_, count)| count.samples).sum()
    }

    fn has_stacks(&self, key: &SampleKey) -> bool {
        (key.user == StackHash::NONE || self.user.contains_key(&key.user))
            && (key.kernel == StackHash::NONE || self.kernel.contains_key(&key.kernel))
    }

    /// Adds every count to a profile, with names.
    pub fn add_to(&self, profile: &mut Profile) {
        let mut names = Names::new(self, profile);
        let unsent = profile.synthetic("[lost: stack not sent]");
        let truncated = profile.synthetic("[truncated]");
        let incomplete = profile.synthetic("[incomplete]");
        for (key, count) in &self.counts {
            let frames = if self.has_stacks(key) {
                let mut frames = Vec::new();
                if let Some(stack) = self.user.get(&key.user) {
                    match StackEnd::from_number(stack.end) {
                        Some(StackEnd::Truncated) => frames.push(truncated),
                        Some(end) if end.is_whole() => {}
                        _ => frames.push(incomplete),
                    }
                    frames.extend(
                        stack
                            .frames
                            .iter()
                            .rev()
                            .map(|frame| names.user(profile, frame)),
                    );
                }
                if let Some(stack) = self.kernel.get(&key.kernel) {
                    let addresses = call_addresses(&stack.frames);
                    frames.extend(
                        addresses
                            .rev()
                            .map(|address| names.kernel(profile, address)),
                    );
                }
                frames
            } else {
                vec![unsent]
            };
            let labels = Labels {
                pid: key.pid,
                tid: key.tid,
                process: profile.intern_string(&comm(&key.process)),
                thread: profile.intern_string(&comm(&key.thread)),
            };
            let frames = if frames.is_empty() {
                vec![incomplete]
            } else {
                frames
            };
            if let Some(stack) = profile.intern_frames(&frames) {
                profile.add(stack, labels, &[count.samples, count.weight]);
            }
        }
    }
}

/// A kernel stack's addresses to look up: all but the leaf's are return addresses.
fn call_addresses(frames: &[u64]) -> impl DoubleEndedIterator<Item = u64> + '_ {
    frames
        .iter()
        .enumerate()
        .map(|(index, address)| address - u64::from(index != 0))
}

fn comm(bytes: &[u8]) -> String {
    let name = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

type Answers<Key> = HashMap<Key, Result<Symbol, Miss>>;

/// The answers of the symbolizer, and the mappings that stand for the files.
struct Names {
    user: Answers<(u32, u64)>,
    kernel: Answers<u64>,
    mappings: HashMap<u32, MappingId>,
    kernel_mapping: MappingId,
}

impl Names {
    fn new(collected: &Collected, profile: &mut Profile) -> Self {
        let frames = collected.user.values().flat_map(|stack| &stack.frames);
        let mut offsets: HashMap<u32, BTreeSet<u64>> = HashMap::new();
        for frame in frames {
            offsets
                .entry(frame.file)
                .or_default()
                .insert(frame.lookup_offset());
        }
        let mut names = Self {
            user: HashMap::new(),
            kernel: name_kernel(collected),
            mappings: HashMap::new(),
            kernel_mapping: kernel_mapping(profile),
        };
        for (number, offsets) in offsets {
            names.name_file(
                collected,
                profile,
                number,
                &offsets.into_iter().collect::<Vec<_>>(),
            );
        }
        names
    }

    fn name_file(
        &mut self,
        collected: &Collected,
        profile: &mut Profile,
        number: u32,
        offsets: &[u64],
    ) {
        let vdso = if number == file::VDSO {
            symbolizer::vdso_file()
        } else {
            None
        };
        let known = collected.files.get(number);
        let opened = vdso
            .as_ref()
            .or_else(|| known.and_then(|known| known.file.as_ref()));
        if let Some(opened) = opened {
            let answers = symbolizer::file(opened, offsets, Detail::default());
            let keys = offsets.iter().map(|&offset| (number, offset));
            self.user.extend(keys.zip(answers));
        }
        let path = known.map(|known| known.path.to_string_lossy().into_owned());
        let name = match number {
            file::VDSO => "[vdso]".to_owned(),
            _ => path
                .filter(|path| !path.is_empty())
                .unwrap_or_else(|| "[unknown]".to_owned()),
        };
        let mapping = Mapping {
            name: profile.intern_string(&name),
            build_id: opened.and_then(symbolizer::build_id),
            kind: if number == file::VDSO {
                MappingKind::Vdso
            } else {
                MappingKind::File
            },
            size_bytes: opened
                .and_then(|file| file.metadata().ok())
                .map_or(0, |data| data.len()),
        };
        if number == file::VDSO || number >= file::FIRST {
            self.mappings
                .insert(number, profile.intern_mapping(mapping));
        }
    }

    fn user(&mut self, profile: &mut Profile, frame: &UserFrame) -> FrameId {
        let address = frame.lookup_offset();
        let mapping = self.mappings.get(&frame.file).copied();
        let name = match self.user.get(&(frame.file, address)) {
            Some(Ok(symbol)) => return named(profile, mapping, address, FrameKind::User, symbol),
            _ => match (frame.file, mapping) {
                (file::ANONYMOUS, _) => "[anonymous memory]".to_owned(),
                (_, Some(mapping)) => {
                    let path = profile.text(profile.mapping(mapping).name);
                    format!("{}+{address:#x}", path.rsplit('/').next().unwrap_or(path))
                }
                _ => "[unknown]".to_owned(),
            },
        };
        unnamed(profile, mapping, address, FrameKind::User, &name)
    }

    fn kernel(&mut self, profile: &mut Profile, address: u64) -> FrameId {
        let mapping = Some(self.kernel_mapping);
        match self.kernel.get(&address) {
            Some(Ok(symbol)) => named(profile, mapping, address, FrameKind::Kernel, symbol),
            _ => unnamed(profile, mapping, address, FrameKind::Kernel, "[unknown]"),
        }
    }
}

fn name_kernel(collected: &Collected) -> Answers<u64> {
    let stacks = collected.kernel.values();
    let addresses: BTreeSet<u64> = stacks
        .flat_map(|stack| call_addresses(&stack.frames))
        .collect();
    let addresses: Vec<u64> = addresses.into_iter().collect();
    let answers = KernelNames::new().resolve(&addresses);
    addresses.into_iter().zip(answers).collect()
}

fn kernel_mapping(profile: &mut Profile) -> MappingId {
    let mapping = Mapping {
        name: profile.intern_string("[kernel.kallsyms]"),
        build_id: symbolizer::kernel_build_id(),
        kind: MappingKind::Kernel,
        size_bytes: 0,
    };
    profile.intern_mapping(mapping)
}

fn named(
    profile: &mut Profile,
    mapping: Option<MappingId>,
    address: u64,
    kind: FrameKind,
    symbol: &Symbol,
) -> FrameId {
    let mut lines = Vec::new();
    for function in &symbol.functions {
        let interned = Function {
            name: profile.intern_string(&function.name),
            system_name: profile.intern_string(&function.system_name),
            file: None,
            start_line: 0,
        };
        let function = profile.intern_function(interned);
        lines.push(Line { function, line: 0 });
    }
    profile.intern_frame(Frame {
        mapping,
        address,
        kind,
        lines,
    })
}

fn unnamed(
    profile: &mut Profile,
    mapping: Option<MappingId>,
    address: u64,
    kind: FrameKind,
    name: &str,
) -> FrameId {
    let name = profile.intern_string(name);
    let function = Function {
        name,
        system_name: name,
        file: None,
        start_line: 0,
    };
    let function = profile.intern_function(function);
    let lines = vec![Line { function, line: 0 }];
    profile.intern_frame(Frame {
        mapping,
        address,
        kind,
        lines,
    })
}
