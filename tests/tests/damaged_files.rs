//! Libraries that somebody damaged, or made to do harm, and that run all the same: the recording ends,
//! each keeps its time, the others keep their names, and what could not be read is told.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the answer")]

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
};

use object::{Object, ObjectSegment};
use tempfile::TempDir;
use tests::{Pprof, Workload, record, require_root};

/// How long each library works. A library's samples at 999 Hz are some 50.
const WORK_MS: &str = "50";
/// A library's functions; it is in the first of them only as it begins and ends.
const FUNCTIONS: [&str; 2] = ["plugin_outer", "plugin_inner"];

struct Libraries {
    folder: TempDir,
    /// The undamaged one: debug information and all.
    good: Vec<u8>,
}

impl Libraries {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let flags = ["-g", "-shared", "-fPIC", "-nostdlib"];
        let library = Workload::without_frame_pointers("plugin.c", "good.so", &flags);
        let good = fs::read(library.path()).unwrap();
        Self { folder, good }
    }

    /// Where the part that is loaded ends: all that comes behind it is for debuggers.
    fn loaded_end(&self) -> usize {
        let elf = object::File::parse(self.good.as_slice()).unwrap();
        let ends = elf.segments().map(|segment| {
            let (start, size) = segment.file_range();
            start + size
        });
        ends.max().unwrap() as usize
    }

    fn add(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = fs::canonicalize(self.folder.path()).unwrap().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// With 16 bytes changed at one of 64 places of the part that is not loaded.
    fn changed(&self, place: usize) -> PathBuf {
        let start = self.loaded_end();
        let at = start + (self.good.len() - start - 16) * place / 63;
        let mut content = self.good.clone();
        for byte in &mut content[at..at + 16] {
            *byte = byte.wrapping_mul(31) ^ 0xa5;
        }
        self.add(&format!("changed-{place}.so"), &content)
    }

    /// Cut off at one of 8 places behind the part that is loaded.
    fn cut(&self, place: usize) -> PathBuf {
        let start = self.loaded_end();
        let end = start + (self.good.len() - start) * place / 8;
        self.add(&format!("cut-{place}.so"), &self.good[..end])
    }

    /// Without symbols but for a compressed table that becomes 2 GiB.
    fn bomb(&self) -> PathBuf {
        let path = self.add("bomb.so", &self.good);
        let script = "strip $0 && head -c 2G /dev/zero | xz -1 >$0.xz \
                      && objcopy --add-section .gnu_debugdata=$0.xz $0";
        run(script, &path);
        path
    }

    /// Debug information that claims to become a petabyte.
    fn boast(&self) -> PathBuf {
        let path = self.add("boast.so", &self.good);
        run("objcopy --compress-debug-sections=zlib-gabi $0", &path);
        let content = fs::read(&path).unwrap();
        let elf = object::File::parse(content.as_slice()).unwrap();
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        let mut boasts = 0;
        for section in object::Object::sections(&elf) {
            let name = object::ObjectSection::name(&section).unwrap().to_owned();
            let range = object::ObjectSection::file_range(&section);
            // `Elf64_Chdr`: the type, 1 for zlib, is at 0, and the size at 8.
            if let Some((start, _)) = range.filter(|_| name.starts_with(".debug_"))
                && content[start as usize..][..4] == [1, 0, 0, 0]
            {
                file.write_all_at(&(1_u64 << 50).to_le_bytes(), start + 8)
                    .unwrap();
                boasts += 1;
            }
        }
        assert!(boasts > 0);
        path
    }

    /// Sparse, and 4 TiB long.
    fn sparse(&self) -> PathBuf {
        let path = self.add("sparse.so", &self.good);
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(1 << 42).unwrap();
        path
    }
}

fn run(script: &str, path: &Path) {
    let status = Command::new("sh").arg("-ec").arg(script).arg(path).status();
    assert!(status.unwrap().success(), "failed to run `{script}`");
}

/// Samples in a library, and those of them in which all its frames have the names of its functions.
fn samples_in(profile: &Pprof, library: &Path) -> (u64, u64) {
    let (mut all, mut named) = (0, 0);
    for sample in &profile.samples {
        let frames = sample.frames.iter();
        let own: Vec<_> = frames
            .filter(|frame| frame.module == library.to_str().unwrap())
            .collect();
        let mut lines = own.iter().map(|frame| &frame.lines);
        let is_function = |line: &tests::PprofLine| FUNCTIONS.contains(&line.function.as_str());
        if !own.is_empty() {
            all += sample.samples;
            let is_named = lines.all(|lines| lines.iter().any(is_function));
            named += if is_named { sample.samples } else { 0 };
        }
    }
    (all, named)
}

/// Whatever a library's file has behind the code that runs, its time is there in full, and that of the
/// undamaged ones has its names.
#[test]
fn damage_costs_its_own_names() {
    if !require_root() {
        return;
    }
    let program = Workload::without_frame_pointers("damaged.c", "damaged", &[]);
    let libraries = Libraries::new();
    let first = libraries.add("first.so", &libraries.good);
    let mut paths = vec![first.clone()];
    paths.extend((0..64).map(|place| libraries.changed(place)));
    paths.extend((0..8).map(|place| libraries.cut(place)));
    let others = [
        libraries.bomb(),
        libraries.boast(),
        libraries.sparse(),
        libraries.add("emptied.so", &libraries.good),
    ];
    paths.extend(others.clone());
    let last = libraries.add("last.so", &libraries.good);
    paths.push(last.clone());
    let mut command = vec![program.path().to_owned(), WORK_MS.to_owned()];
    command.extend(paths.iter().map(|path| path.to_str().unwrap().to_owned()));
    let recorded = record(&["-F", "999"], &command);
    let profile = recorded.pprof();

    let spent = recorded
        .run
        .stdout
        .lines()
        .map(|line| line.parse::<u64>().unwrap());
    let spent: Vec<u64> = spent.collect();
    assert_eq!(spent.len(), paths.len());
    let (mut all, mut expected) = (0, 0.0);
    for (path, ns) in paths.iter().zip(spent) {
        let (samples, named) = samples_in(&profile, path);
        let due = ns as f64 * 999.0 / 1e9;
        // Five standard errors, were the samples independent.
        let most = 5.0 * due.sqrt() + 2.0;
        assert!(
            (samples as f64 - due).abs() < most,
            "{}: {samples} of {due}",
            path.display()
        );
        if [&first, &last, &others[1], &others[2]].contains(&path) {
            assert_eq!(named, samples, "{}", path.display());
        }
        all += samples;
        expected += due;
    }
    assert!(
        (all as f64 / expected - 1.0).abs() < 0.03,
        "{all} of {expected}"
    );

    let words = &recorded.run.stderr;
    for file in ["cut-0.so", "bomb.so"] {
        assert!(words.contains(file), "{file} is not told: {words}");
    }
    assert!(!words.contains("panicked"), "{words}");
}
