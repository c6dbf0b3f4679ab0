//! A program with more debug information than most machines have programs of: some hundred units,
//! each with types, names, functions and inlined functions of its own.
//!
//! The C compiler makes one unit, with a placeholder in every name; the assembler makes as many of it
//! as are needed, which takes it a tenth of the time that a compiler would.

use std::{
    fmt::Write as _,
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    io::Write as _,
    panic,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSection, read::ReadCache};

/// Stands in every name of the unit where its number is to be.
const PLACEHOLDER: &str = "UNIT";
const RECORDS: usize = 400;
const MEMBERS: usize = 120;
const FLAGS: &[&str] = &["-g3", "-O1", "-fno-eliminate-unused-debug-types"];
const INSTALL: &str = "install a C compiler (Debian: build-essential)";

/// The program of so many units in a folder, where it stays for the next time.
///
/// # Errors
/// Where the compiler, the assembler or the linker is absent or fails.
pub(super) fn program(units: usize, folder: &Path) -> Result<PathBuf> {
    let (unit, main) = (unit_source(), main_source(units));
    let mut version = DefaultHasher::new();
    (&unit, &main, FLAGS).hash(&mut version);
    let binary = folder.join(format!("large-{units}-{:016x}", version.finish()));
    if binary.exists() {
        return Ok(binary);
    }
    eprintln!("building a program of {units} units, once");
    fs::create_dir_all(folder)
        .with_context(|| format!("failed to create `{}`", folder.display()))?;
    let parts = tempfile::tempdir_in(folder).context("failed to create a folder for objects")?;
    let assembly = compile(&unit, parts.path())?;
    assemble(&assembly, units, parts.path())?;
    let linked = link(&main, units, parts.path())?;
    fs::rename(linked, &binary).context("failed to keep the program")?;
    Ok(binary)
}

/// The size of a program's debug information, in bytes.
///
/// # Errors
/// Where it is no ELF file.
pub(super) fn debug_bytes(binary: &Path) -> Result<u64> {
    let file = File::open(binary).context("failed to open the program")?;
    let cache = ReadCache::new(file);
    let elf = object::File::parse(&cache).context("failed to read the program's sections")?;
    let sections = elf.sections();
    let debug =
        sections.filter(|section| section.name().is_ok_and(|name| name.starts_with(".debug_")));
    Ok(debug.map(|section| section.size()).sum())
}

/// Types of many members, and functions into which others are inlined.
fn unit_source() -> String {
    let mut text = String::new();
    for record in 0..RECORDS {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "struct record_{record}_UNIT {{");
        for member in 0..MEMBERS {
            let _ = writeln!(
                text,
                " struct record_{record}_UNIT *member_{member}_of_record_{record}_in_unit_UNIT;"
            );
        }
        let _ = writeln!(
            text,
            "}};\n\
             static inline __attribute__((always_inline)) unsigned inner_{record}_UNIT(unsigned x)\n\
             {{ return x * {}u + (x >> 3); }}\n\
             __attribute__((noinline)) unsigned outer_{record}_UNIT(struct record_{record}_UNIT *p, unsigned x)\n\
             {{ (void)p; for (int k = 0; k < 20; k++) x ^= inner_{record}_UNIT(x); return x; }}",
            2 * record + 3
        );
    }
    text.push_str("unsigned unit_UNIT(unsigned x)\n{\n");
    for record in 0..RECORDS {
        let _ = writeln!(text, " x = outer_{record}_UNIT(0, x);");
    }
    text + " return x;\n}\n"
}

/// Calls all units in turn for as many seconds as it is told.
fn main_source(units: usize) -> String {
    let declared: String = (0..units)
        .map(|unit| format!("unsigned unit_{unit}(unsigned);\n"))
        .collect();
    let listed: String = (0..units).map(|unit| format!("unit_{unit}, ")).collect();
    format!(
        "#include <stdlib.h>\n#include <time.h>\n{declared}\
         static unsigned (*const units[])(unsigned) = {{ {listed} }};\n\
         static volatile unsigned result;\n\
         int main(int count, char **arguments)\n{{\n\
         \x20time_t end = time(0) + (count > 1 ? atoi(arguments[1]) : 1);\n\
         \x20for (unsigned x = 1; time(0) <= end; result = x)\n\
         \x20 for (unsigned i = 0; i < sizeof units / sizeof *units; i++) x = units[i](x);\n\
         \x20return 0;\n}}\n"
    )
}

/// The assembly of one unit, with the placeholder in it.
fn compile(unit: &str, parts: &Path) -> Result<String> {
    let (source, assembly) = (parts.join("UNIT.c"), parts.join("UNIT.s"));
    fs::write(&source, unit).context("failed to write the source of a unit")?;
    let mut command = Command::new("cc");
    command.args(FLAGS).arg("-S").arg("-o").arg(&assembly);
    // Without the folder, which differs from time to time, and whose name may hold the placeholder.
    run(command.arg("UNIT.c").current_dir(parts))?;
    fs::read_to_string(&assembly).context("failed to read the assembly of a unit")
}

/// Makes all units, on all CPUs.
fn assemble(assembly: &str, units: usize, parts: &Path) -> Result<()> {
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let unit = next.fetch_add(1, Ordering::Relaxed);
            if unit >= units {
                return Ok(());
            }
            let text = assembly.replace(PLACEHOLDER, &unit.to_string());
            assemble_one(&text, &object(parts, unit))?;
        }
    };
    thread::scope(|scope| {
        let cpus = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..cpus).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| {
            let joined = worker.join();
            joined.unwrap_or_else(|panic| panic::resume_unwind(panic))
        })
    })
}

fn assemble_one(text: &str, object: &Path) -> Result<()> {
    let mut assembler = Command::new("as")
        .arg("-o")
        .arg(object)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("failed to run `as`; {INSTALL}"))?;
    let written = assembler
        .stdin
        .take()
        .map(|mut input| input.write_all(text.as_bytes()));
    let output = assembler.wait_with_output()?;
    check("as", &output)?;
    written
        .transpose()
        .context("failed to hand a unit to `as`")?;
    Ok(())
}

fn link(main: &str, units: usize, parts: &Path) -> Result<PathBuf> {
    let (source, binary) = (parts.join("main.c"), parts.join("large"));
    fs::write(&source, main).context("failed to write the source of the program")?;
    let mut command = Command::new("cc");
    command.args(FLAGS).arg("-o").arg(&binary).arg(&source);
    run(command.args((0..units).map(|unit| object(parts, unit))))?;
    Ok(binary)
}

fn object(parts: &Path, unit: usize) -> PathBuf {
    parts.join(format!("{unit}.o"))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("failed to run `cc`; {INSTALL}"))?;
    check("cc", &output)
}

fn check(name: &str, output: &Output) -> Result<()> {
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "failed to build the large program: `{name}` said `{}`",
            said.trim()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two units make a program that runs, has a few MB of debug information for each, and is made
    /// once; functions and types of both units are in it.
    #[test]
    fn a_small_large_program_runs() {
        let folder = tempfile::tempdir().unwrap();
        let binary = program(2, folder.path()).unwrap();
        assert!(debug_bytes(&binary).unwrap() > 4 << 20);
        let made = fs::metadata(&binary).unwrap().modified().unwrap();
        assert!(Command::new(&binary).arg("0").status().unwrap().success());
        let bytes = fs::read(&binary).unwrap();
        for name in [
            "outer_399_0",
            "outer_399_1",
            "member_7_of_record_5_in_unit_1",
        ] {
            let is_there = bytes
                .windows(name.len() + 1)
                .any(|text| text == format!("{name}\0").as_bytes());
            assert!(is_there, "{name}");
        }
        assert_eq!(program(2, folder.path()).unwrap(), binary);
        assert_eq!(fs::metadata(&binary).unwrap().modified().unwrap(), made);
    }
}
