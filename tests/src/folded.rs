//! Folded stacks as other programs read them: `process;outermost;…;leaf COUNT`.

use std::collections::HashMap;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoldedStack {
    /// The name of the process.
    pub process: String,
    /// Outermost first; those of the kernel end in `_[k]`.
    pub frames: Vec<String>,
    /// How many samples.
    pub samples: u64,
}

impl FoldedStack {
    /// The frames of user code, outermost first, with neither the kernel's nor those that timesink
    /// made up.
    pub fn user_frames(&self) -> impl Iterator<Item = &str> {
        self.frames
            .iter()
            .map(String::as_str)
            .filter(|frame| !frame.ends_with("_[k]") && !frame.starts_with('['))
    }

    /// Whether a function is anywhere in the stack.
    #[must_use]
    pub fn has(&self, function: &str) -> bool {
        self.frames.iter().any(|frame| frame == function)
    }
}

/// All lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folded(pub Vec<FoldedStack>);

impl Folded {
    /// Parses every line; one that does not have the form is a failure.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(text.lines().map(stack).collect())
    }

    /// The stacks of one process name.
    #[must_use]
    pub fn of_process(&self, name: &str) -> Self {
        self.filter(|stack| stack.process == name)
    }

    /// The stacks that fulfil a condition.
    #[must_use]
    pub fn filter(&self, wanted: impl Fn(&FoldedStack) -> bool) -> Self {
        let wanted = self.0.iter().filter(|stack| wanted(stack));
        Self(wanted.cloned().collect())
    }

    /// All samples.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().map(|stack| stack.samples).sum()
    }

    /// The part of all samples that has a function anywhere in the stack, from 0 to 1.
    #[must_use]
    pub fn share(&self, function: &str) -> f64 {
        let inside = self.filter(|stack| stack.has(function)).total();
        inside as f64 / self.total() as f64
    }

    /// The samples by leaf, without the marks of kernel and inlined functions.
    #[must_use]
    pub fn leaves(&self) -> HashMap<&str, u64> {
        let mut leaves = HashMap::new();
        for stack in &self.0 {
            let leaf = stack.frames.last().unwrap();
            let leaf = leaf.strip_suffix("_[k]").unwrap_or(leaf);
            let leaf = leaf.strip_suffix("_[i]").unwrap_or(leaf);
            *leaves.entry(leaf).or_default() += stack.samples;
        }
        leaves
    }
}

fn stack(line: &str) -> FoldedStack {
    parts(line).unwrap_or_else(|| panic!("`{line}` is no folded stack"))
}

fn parts(line: &str) -> Option<FoldedStack> {
    let (stack, samples) = line.rsplit_once(' ')?;
    let (process, frames) = stack.split_once(';')?;
    Some(FoldedStack {
        process: process.to_owned(),
        frames: frames.split(';').map(str::to_owned).collect(),
        samples: samples.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Totals, shares and leaves are sums over the lines.
    #[test]
    fn sums_are_over_lines() {
        let folded = Folded::parse("a b;main;f 3\na b;main;sys_[k] 1\nc;[lost: ring full] 4\n");
        assert_eq!(folded.total(), 8);
        let process = folded.of_process("a b");
        assert!((process.share("f") - 0.75).abs() < 1e-9);
        assert_eq!(process.leaves(), HashMap::from([("f", 3), ("sys", 1)]));
        assert_eq!(process.0[1].user_frames().collect::<Vec<_>>(), ["main"]);
        assert_eq!(folded.0[2].user_frames().count(), 0);
    }
}
