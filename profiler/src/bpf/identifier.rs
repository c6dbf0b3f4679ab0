//! Asking the kernel what its programs call a file: the file is mapped, and a program looks at the
//! mapping as it looks at those of samples.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    sync::{Mutex, PoisonError},
};

use abi::{
    config::{Addresses, Config, Offsets, Scope},
    records::FileIdentities,
};
use anyhow::{Context, Result};
use aya::{Ebpf, EbpfLoader, maps::Array, programs::RawTracePoint};
use memmap2::MmapOptions;

use super::{OBJECT, Plain, program, verified_instructions};
use crate::identity::Identify;

/// The maps that only the other programs use, as small as maps can be.
const UNUSED_MAPS: &[&str] = &[
    "COUNTS_0",
    "COUNTS_1",
    "WAITS_0",
    "WAITS_1",
    "SENT",
    "FILES",
    "TABLE_NUMBERS",
    "TABLES",
    "PAGES",
    "BLOCKS",
    "RULES",
    "TARGETS",
];
/// A page of every machine.
const RING_BYTES: u32 = 1 << 16;
/// Another thread may be changing what the process maps.
const ATTEMPTS: usize = 4;

/// The program that answers, loaded beside those of a recording, which need to know files first.
#[derive(Debug)]
pub struct Identifier {
    /// One question at a time.
    ebpf: Mutex<Ebpf>,
}

impl Identifier {
    /// Loads the program.
    ///
    /// # Errors
    /// Where the kernel refuses a map or the program.
    pub fn load(offsets: &Offsets) -> Result<Self> {
        let config = Config {
            hash_seed: [0; 2],
            cgroup_id: 0,
            cgroup_level: 0,
            scope: Scope::Tasks as u32,
            has_threads: 0,
            with_cgroups: 0,
            moment_mask: 0,
            padding: 0,
            addresses: Addresses::default(),
            offsets: *offsets,
        };
        let mut loader = EbpfLoader::new();
        for map in UNUSED_MAPS {
            loader.map_max_entries(map, 1);
        }
        let mut ebpf = loader
            .btf(None)
            .override_global("CONFIG", &Plain(config), true)
            .map_max_entries("RING", RING_BYTES)
            // The kernel's storage for tasks, which is not used here.
            .allow_unsupported_maps()
            .load(OBJECT)
            .context("failed to load the kernel programs' maps")?;
        let asked: &mut RawTracePoint = program(&mut ebpf, "identify")?.try_into()?;
        asked
            .load()
            .context("failed to load the program that tells files apart")?;
        Ok(Self {
            ebpf: Mutex::new(ebpf),
        })
    }

    /// As [`super::Programs::verified_instructions`].
    ///
    /// # Errors
    /// Where the kernel does not tell of the program.
    pub fn verified_instructions(&self) -> Result<BTreeMap<String, u32>> {
        verified_instructions(&self.ebpf.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn ask(&self, address: u64, file: &File) -> Result<FileIdentities> {
        let mut ebpf = self.ebpf.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = ebpf.map_mut("IDENTITIES").context("no map `IDENTITIES`")?;
        let mut answer = Array::<_, Plain<FileIdentities>>::try_from(answer)?;
        answer.set(0, Plain(FileIdentities::default()), 0)?;
        let asked: &mut RawTracePoint = program(&mut ebpf, "identify")?.try_into()?;
        let arguments = [address, u64::try_from(file.as_raw_fd())?];
        run(asked.fd()?.as_fd(), &arguments)?;
        let answer = ebpf.map("IDENTITIES").context("no map `IDENTITIES`")?;
        Ok(Array::<_, Plain<FileIdentities>>::try_from(answer)?
            .get(&0, 0)?
            .0)
    }
}

impl Identify for Identifier {
    fn identities(&self, file: &File) -> Option<FileIdentities> {
        // SAFETY: nothing is read of the mapping, so it does not matter who changes the file.
        let mapping = unsafe { MmapOptions::new().len(1).map_copy_read_only(file) }.ok()?;
        let address = mapping.as_ptr() as u64;
        (0..ATTEMPTS)
            .filter_map(|_| self.ask(address, file).ok())
            .find(|found| found.mapped.inode != 0)
    }
}

/// `BPF_PROG_TEST_RUN`, which aya does not have: runs a program once, here and now.
fn run(program: BorrowedFd<'_>, arguments: &[u64; 2]) -> io::Result<()> {
    const BPF_PROG_TEST_RUN: libc::c_int = 10;
    /// `bpf_attr.test`: `linux/bpf.h`.
    #[repr(C)]
    #[derive(Default)]
    struct TestRun {
        program: u32,
        answer: u32,
        data_bytes: [u32; 2],
        data: [u64; 2],
        repeat: u32,
        duration: u32,
        context_bytes: [u32; 2],
        context: [u64; 2],
        flags: u32,
        cpu: u32,
        batch: u32,
        padding: u32,
    }
    let mut attributes = TestRun {
        program: program.as_raw_fd().cast_unsigned(),
        context_bytes: [size_of_val(arguments) as u32, 0],
        context: [arguments.as_ptr() as u64, 0],
        ..TestRun::default()
    };
    // SAFETY: the attributes are valid for the size that is given, and the arguments for theirs.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_TEST_RUN,
            &raw mut attributes,
            size_of::<TestRun>(),
        )
    };
    match answer {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::{
        btf::{self, Btf},
        identity::ByStat,
    };

    /// On a file system that stands alone, the kernel's own answer has the inode and the device that
    /// `stat` tells, also for a file of no bytes and for one without a name.
    #[test]
    fn plain_files_are_what_stat_tells() {
        let offsets = btf::offsets(&Btf::of_kernel().unwrap()).unwrap();
        let identifier = Identifier::load(&offsets).unwrap();
        let unnamed = tempfile::tempfile().unwrap();
        assert_eq!(unnamed.metadata().unwrap().len(), 0);
        for file in [File::open("/proc/self/exe").unwrap(), unnamed] {
            let asked = identifier.identities(&file).unwrap();
            assert_eq!(asked.mapped, asked.opened);
            let stat = ByStat.identities(&file).unwrap().mapped;
            assert_eq!(asked.mapped.inode, file.metadata().unwrap().ino());
            assert_eq!(asked.mapped.device, stat.device);
        }
        let folder = File::open("/").unwrap();
        assert_eq!(identifier.identities(&folder), None);
        let names: Vec<_> = identifier
            .verified_instructions()
            .unwrap()
            .into_keys()
            .collect();
        assert_eq!(names, ["identify"]);
    }
}
