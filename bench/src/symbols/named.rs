//! How many samples of a result have a name, by the result itself: that of the function in which the
//! CPU was.

use std::collections::HashMap;

use anyhow::{Context, Result};
use serde_json::Value;

/// What a result holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Samples {
    /// All of them.
    pub(super) all: u64,
    /// Those whose innermost function has a name.
    pub(super) named: u64,
    /// Those whose innermost function is inlined into another.
    pub(super) inlined: u64,
}

impl Samples {
    /// As many as that, where each counts as often as it says.
    pub(super) const fn divided(self, each: u64) -> Self {
        Self {
            all: self.all / each,
            named: self.named / each,
            inlined: self.inlined / each,
        }
    }
}

/// Of folded stacks, as timesink and inferno write them.
pub(super) fn of_folded(text: &str) -> Samples {
    let mut samples = Samples::default();
    for line in text.lines() {
        let Some((stack, count)) = line.rsplit_once(' ') else {
            continue;
        };
        // The first frame is the process.
        let leaf = stack.rsplit_once(';').map_or("", |(_, leaf)| leaf);
        // What was lost is no sample of a stack; peers do not show it at all.
        if leaf.starts_with("[lost") {
            continue;
        }
        let count = count.parse().unwrap_or(0);
        samples.all += count;
        samples.named += if is_name(leaf) { count } else { 0 };
        samples.inlined += if leaf.ends_with("_[i]") { count } else { 0 };
    }
    samples
}

/// Without a name there is that of the file, in brackets by inferno and with an offset by timesink.
fn is_name(leaf: &str) -> bool {
    let offset = leaf.rsplit_once("+0x");
    let is_offset = offset.is_some_and(|(_, offset)| is_hex(offset));
    !(leaf.is_empty() || leaf.starts_with('[') || is_offset)
}

/// Of samply's profile and the symbols beside it, both JSON.
///
/// # Errors
/// Where they are not as samply writes them.
pub(super) fn of_samply(profile: &Value, symbols: &Value) -> Result<Samples> {
    let known = known_addresses(symbols);
    let libraries = list(&profile["libs"]);
    let mut samples = Samples::default();
    for thread in list(&profile["threads"]) {
        let leaves = Leaves { thread, libraries };
        let stacks = list(&thread["samples"]["stack"]).iter();
        let weights = list(&thread["samples"]["weight"]).iter();
        for (stack, weight) in stacks.zip(weights) {
            let weight = weight.as_u64().context("a sample without a weight")?;
            let named = leaves.of(stack).and_then(|leaf| known.get(&leaf));
            samples.all += weight;
            samples.named += if named.is_some() { weight } else { 0 };
            samples.inlined += if named == Some(&true) { weight } else { 0 };
        }
    }
    Ok(samples)
}

/// The tables of a thread of samply's profile.
#[derive(Debug)]
struct Leaves<'a> {
    thread: &'a Value,
    libraries: &'a [Value],
}

impl<'a> Leaves<'a> {
    /// The library of a stack's innermost frame, and the address in it.
    fn of(&self, stack: &Value) -> Option<(&'a str, u64)> {
        let thread = self.thread;
        let frame = at(&thread["stackTable"]["frame"], stack)?;
        let function = at(&thread["frameTable"]["func"], frame)?;
        let resource = at(&thread["funcTable"]["resource"], function)?;
        let library = at(&thread["resourceTable"]["lib"], resource)?;
        let library = self.libraries.get(index(library)?)?;
        let address = at(&thread["frameTable"]["address"], frame)?;
        Some((library["debugName"].as_str()?, address.as_u64()?))
    }
}

/// The addresses that have a symbol, and whether functions are inlined there. Where samply knows no more
/// of a function than where it begins, it makes up a name of that.
fn known_addresses(symbols: &Value) -> HashMap<(&str, u64), bool> {
    let mut known = HashMap::new();
    for library in list(&symbols["data"]) {
        let name = library["debug_name"].as_str().unwrap_or_default();
        let table = list(&library["symbol_table"]);
        for pair in list(&library["known_addresses"]) {
            let symbol = index(&pair[1]).and_then(|place| table.get(place));
            let is_named = |symbol: &&Value| {
                let text = at(&symbols["string_table"], &symbol["symbol"]);
                !text.and_then(Value::as_str).is_none_or(is_made_up)
            };
            if let (Some(address), Some(symbol)) = (pair[0].as_u64(), symbol.filter(is_named)) {
                known.insert((name, address), list(&symbol["frames"]).len() > 1);
            }
        }
    }
    known
}

fn is_made_up(name: &str) -> bool {
    name.strip_prefix("fun_").is_some_and(is_hex)
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn at<'a>(table: &'a Value, place: &Value) -> Option<&'a Value> {
    list(table).get(index(place)?)
}

fn index(value: &Value) -> Option<usize> {
    usize::try_from(value.as_u64()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Paths with offsets and files in brackets are no names, operators and offsets in names are.
    #[test]
    fn folded_stacks_are_counted_by_their_leaves() {
        let folded = "app;main;work 5\napp;main;libx.so+0x1f 3\napp;main;[libx.so] 2\n\
                      app;[unknown] 1\napp;read_[k] 7\napp;main;inner_[i] 4\napp 1\n\
                      app;std::ops::operator+0xyz 1\napp;[lost: stack not sent] 9\n";
        let samples = Samples {
            all: 24,
            named: 17,
            inlined: 4,
        };
        assert_eq!(of_folded(folded), samples);
    }

    /// A sample of samply's is named where the symbols have a real name for the address in the library of
    /// its leaf.
    #[test]
    fn samplys_samples_are_looked_up() {
        let profile = json!({
            "libs": [{"debugName": "a"}, {"debugName": "b"}],
            "threads": [{
                "samples": {"stack": [0, 1, 2, 3, null], "weight": [1, 2, 4, 16, 8]},
                "stackTable": {"frame": [0, 1, 2, 3]},
                "frameTable": {"func": [0, 0, 1, 0], "address": [16, 32, 16, 48]},
                "funcTable": {"resource": [0, 1]},
                "resourceTable": {"lib": [1, 0]},
            }],
        });
        let symbols = json!({"string_table": ["main", "work", "fun_1f0"], "data": [{
            "debug_name": "b",
            "symbol_table": [{"symbol": 0}, {"symbol": 1, "frames": [{}, {}]}, {"symbol": 2}],
            "known_addresses": [[16, 0], [32, 1], [48, 2]],
        }]});
        let samples = Samples {
            all: 31,
            named: 3,
            inlined: 2,
        };
        assert_eq!(of_samply(&profile, &symbols).unwrap(), samples);
    }
}
