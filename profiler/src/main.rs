//! timesink: where does the time go?

use std::process::ExitCode;

use abi::records::FileIdentity;
use anyhow::{Context, Result};
use clap::Parser;
use profiler::{
    agent,
    cli::{Cli, Command, RecordArgs},
    command::exit_code,
    copies::{copy_file, copy_layered_file},
    debug_files::Debuginfod,
    diff, doctor,
    finish::finish,
    limits::return_freed_memory,
    outputs::{Outputs, stop_writing},
    query,
    record::{Stop, record},
    report::{Report, Signals, tell},
    serve, worker,
};

/// What a shell tells of a command that Ctrl-C ended.
const GAVE_UP: i32 = 130;

fn main() -> ExitCode {
    if let Some(status) = read_for_another() {
        return status;
    }
    let done = match Cli::parse().command {
        Command::Record(args) => run(*args),
        // With the settings in a file, in which the same words stand.
        Command::Agent(_) => {
            agent::run(&std::env::args_os().skip(2).collect::<Vec<_>>()).map(|()| 0)
        }
        Command::Query(args) => query::run(&args).map(|()| 0),
        Command::Diff(args) => diff::run(&args).map(|is_within| u8::from(!is_within)),
        Command::Serve(args) => serve::run(&args).map(|()| 0),
        Command::Doctor(args) => doctor::run(&args).map(|can_record| u8::from(!can_record)),
        Command::CopyFile { inode } => copy_file(inode).map(|()| 0).map_err(Into::into),
        Command::CopyLayeredFile {
            inode,
            device,
            generation,
        } => copy_layered_file(FileIdentity {
            inode,
            device,
            generation,
        })
        .map(|()| 0),
    };
    match done {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            tell(format_args!("timesink: {error:#}\n"));
            ExitCode::FAILURE
        }
    }
}

/// Reads files for the process that started this one, where it was started for that.
fn read_for_another() -> Option<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next()? != worker::ARGUMENT {
        return None;
    }
    let memory_bytes = arguments.next()?.parse().ok()?;
    // Nobody reads what it would say: who asked finds that it is gone.
    Some(ExitCode::from(u8::from(
        worker::serve(memory_bytes).is_err(),
    )))
}

/// Records and writes; the status is that of the command, if one ran to its end.
fn run(args: RecordArgs) -> Result<u8> {
    doctor::require_privileges()?;
    let outputs = Outputs::check_or_default(&args.output, args.format.as_deref())?;
    if args.debuginfod {
        Debuginfod::of_system().map_err(anyhow::Error::msg)?;
    }
    return_freed_memory();
    let mut report = Report::new(args.verbose);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let recorded = record(&args, &mut signals, &mut report).await;
        let recorded = recorded.inspect_err(|_| report.finish())?;
        let stop = recorded.stop;
        let finished = tokio::task::spawn_blocking(move || {
            let done = finish(&recorded, &args, &outputs, &report);
            // The process ends here, and its memory with it: to free the maps one by one takes long.
            std::mem::forget(recorded);
            done
        });
        tokio::select! {
            done = finished => done.context("failed to finish the profile")??,
            () = give_up(&mut signals, stop) => {}
        }
        Ok(match stop {
            Stop::CommandEnded(status) => exit_code(status),
            Stop::Time | Stop::Asked | Stop::TargetsEnded => 0,
        })
    })
}

/// Ends the process at the second signal: the first one stops the recording, unless it was over.
async fn give_up(signals: &mut Signals, stop: Stop) {
    if stop != Stop::Asked {
        signals.next().await;
        let words = "the profile is being written; Ctrl-C again gives it up";
        tell(format_args!("timesink: {words}\n"));
    }
    signals.next().await;
    let _writing = stop_writing();
    tell(format_args!(
        "timesink: given up; nothing more is written\n"
    ));
    std::process::exit(GAVE_UP);
}
