//! timesink: where does the time go?
#![allow(
    clippy::print_stderr,
    reason = "this is where the program talks to its user"
)]

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use profiler::{
    cli::{Cli, Command, RecordArgs},
    command::exit_code,
    doctor,
    finish::finish,
    outputs::{Outputs, stop_writing},
    record::{Stop, record},
    report::{Report, Signals},
};

/// What a shell tells of a command that Ctrl-C ended.
const GAVE_UP: i32 = 130;

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Record(args) => run(*args),
        Command::Doctor(args) => doctor::run(&args).map(|can_record| u8::from(!can_record)),
    };
    match done {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("timesink: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Records and writes; the status is that of the command, if one ran to its end.
fn run(args: RecordArgs) -> Result<u8> {
    doctor::require_privileges()?;
    let outputs = Outputs::check(&args)?;
    let mut report = Report::new(args.verbose);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let recorded = record(&args, &mut signals, &mut report).await?;
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
        eprintln!("timesink: the profile is being written; Ctrl-C again gives it up");
    }
    signals.next().await;
    let _writing = stop_writing();
    eprintln!("timesink: given up; nothing more is written");
    std::process::exit(GAVE_UP);
}
