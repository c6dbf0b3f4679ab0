//! The settings of an agent: its file, then its command line.

use std::{ffi::OsString, fs, path::Path};

use anyhow::{Context, Result, bail};
use clap::Parser;
use toml::{Table, Value};

use crate::{
    cli::{AgentArgs, AgentCommand},
    report::shown,
};

/// Larger files are no settings.
const MAX_BYTES: u64 = 1 << 20;

/// What `words`, the command line, and the file that they name come to.
///
/// # Errors
/// Where the file cannot be read, or it or the words make no sense.
pub fn of(words: &[OsString]) -> Result<AgentArgs> {
    let typed = parse(words.iter().cloned())?;
    let Some(file) = &typed.config else {
        return Ok(typed);
    };
    let written = read(file)?;
    let all = written.into_iter().chain(words.iter().cloned());
    parse(all).with_context(|| format!("failed to use the settings in `{}`", shown(file)))
}

fn parse(words: impl Iterator<Item = OsString>) -> Result<AgentArgs> {
    let program = OsString::from("timesink agent");
    let parsed = AgentCommand::try_parse_from([program].into_iter().chain(words));
    parsed.map(|command| command.args).map_err(|error| {
        let words = error.to_string();
        let first = words.lines().next().unwrap_or_default();
        anyhow::anyhow!("{}", first.trim_start_matches("error: ").to_owned())
    })
}

/// The words for the settings in a file.
fn read(file: &Path) -> Result<Vec<OsString>> {
    let failed = || format!("failed to read the settings in `{}`", shown(file));
    if fs::metadata(file).with_context(failed)?.len() > MAX_BYTES {
        bail!("{}: it has more than {MAX_BYTES} bytes", failed());
    }
    let text = fs::read_to_string(file).with_context(failed)?;
    let table: Table = text.parse().with_context(failed)?;
    let mut words = Vec::new();
    for (name, value) in table {
        if name == "config" {
            bail!("{}: a file of settings names no other", failed());
        }
        let values = match value {
            Value::Array(values) => values,
            value => vec![value],
        };
        for value in &values {
            words.extend(word(&name, value).with_context(failed)?);
        }
    }
    Ok(words)
}

/// An option as it is typed; one that is switched off is not.
fn word(name: &str, value: &Value) -> Result<Option<OsString>> {
    let text = match value {
        Value::Boolean(true) => return Ok(Some(format!("--{name}").into())),
        Value::Boolean(false) => return Ok(None),
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        _ => bail!("`{name}` is no text, number or truth value"),
    };
    Ok(Some(format!("--{name}={text}").into()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn with(text: &str, words: &[&str]) -> Result<AgentArgs> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agent.toml");
        fs::write(&file, text).unwrap();
        let config = ["--config".into(), file.into_os_string()];
        let words = words.iter().map(OsString::from);
        of(&config.into_iter().chain(words).collect::<Vec<_>>())
    }

    /// The file has the names of the options, and what is typed comes after it.
    #[test]
    fn what_is_typed_comes_after_the_file() {
        let text = "rate = 49\noff-cpu = true\nwindow = '5s'\nverbose = false\n\
            label = ['a=b', 'c=d']\n";
        let args = with(text, &["--rate", "99"]).unwrap();
        assert_eq!((args.rate, args.off_cpu, args.verbose), (99, true, false));
        assert_eq!(args.window, Duration::from_secs(5));
        assert_eq!(args.labels.len(), 2);
    }

    /// What is wrong in the file is told with its name and the setting's.
    #[test]
    fn mistakes_are_told() {
        for (text, told) in [
            ("rat = 49", "--rat"),
            ("rate = 0", "--rate"),
            ("rate = 1.5", "rate"),
            ("rate = ", "agent.toml"),
            ("config = 'x'", "names no other"),
        ] {
            let error = format!("{:#}", with(text, &[]).unwrap_err());
            assert!(
                error.contains(told) && error.contains("agent.toml"),
                "{error}"
            );
        }
    }
}
