//! timesink: where does the time go?
#![allow(
    clippy::print_stderr,
    reason = "this is where the program talks to its user"
)]

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::Parser;
use output::{Format, Profile};
use profiler::{
    cli::{Cli, Command, RecordArgs},
    record::record,
};

fn main() -> ExitCode {
    let Cli {
        command: Command::Record(args),
    } = Cli::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("timesink: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &RecordArgs) -> Result<()> {
    let outputs = outputs(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let profile = runtime.block_on(record(args))?;
    for (path, format) in &outputs {
        write(&profile, path, *format)
            .with_context(|| format!("failed to write `{}`", path.display()))?;
    }
    eprint!("{}", profile.ledger);
    Ok(())
}

/// Each output with its format, known to be one before anything is recorded.
fn outputs(args: &RecordArgs) -> Result<Vec<(PathBuf, Format)>> {
    let paths = match args.output.as_slice() {
        [] => vec![PathBuf::from("timesink.svg")],
        paths => paths.to_vec(),
    };
    let mut outputs = Vec::new();
    for path in paths {
        let format = if path == Path::new("-") {
            Format::Folded
        } else {
            let known = Format::from_extension(&path);
            known.with_context(|| {
                format!(
                    "failed to tell the format of `{}`; use .svg, .folded or .pb.gz",
                    path.display()
                )
            })?
        };
        if path.is_dir() {
            bail!("failed to write `{}`: it is a folder", path.display());
        }
        if path != Path::new("-") {
            tempfile::tempfile_in(folder(&path)).with_context(|| {
                format!("failed to write in the folder of `{}`", path.display())
            })?;
        }
        outputs.push((path, format));
    }
    Ok(outputs)
}

fn folder(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Writes beside the final name and renames, so that the name never stands for half a file.
fn write(profile: &Profile, path: &Path, format: Format) -> Result<()> {
    let mut bytes = Vec::new();
    format.encoder().encode(profile, &mut bytes)?;
    if path == Path::new("-") {
        std::io::stdout().write_all(&bytes)?;
        return Ok(());
    }
    let mut file = tempfile::NamedTempFile::new_in(folder(path))?;
    file.write_all(&bytes)?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(mode)?;
    file.persist(path)?;
    Ok(())
}
