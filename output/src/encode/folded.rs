//! Folded stacks: `process;caller;function 42`, one line per stack, sorted frame by frame.
//!
//! The format is that of Brendan Gregg's `stackcollapse-*.pl` and `flamegraph.pl`
//! (<https://github.com/brendangregg/FlameGraph>), with the annotations of `stackcollapse-perf.pl`:
//! `_[i]` after an inlined function and, on what is left, `_[k]` after one of the kernel.
//!
//! There are no comments in this format, so a loss shows only as samples of synthetic frames.

use std::collections::HashMap;
use std::io::Write;

use foldhash::fast::RandomState;

use super::{Encode, EncodeError, Format};
use crate::profile::{Frame, FrameKind, Handle, Profile, Sample, StackId, StringId};

/// The name of what has none.
pub(crate) const UNKNOWN: &str = "[unknown]";

/// Writes [folded stacks](https://www.brendangregg.com/FlameGraphs/cpuflamegraphs.html#Folded).
#[derive(Clone, Copy, Debug)]
pub struct Folded;

impl Encode for Folded {
    fn encode(&self, profile: &Profile, to: &mut dyn Write) -> Result<(), EncodeError> {
        let mut written = Ok(());
        Tree::new(profile).lines(1, |stack, value| {
            if written.is_ok() {
                written = writeln!(to, "{stack} {value}");
            }
        });
        written.map_err(Format::Folded.write_error())
    }
}

/// All stacks, merged where they have the same names from the root on.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// The texts of frames, each once.
    texts: Vec<String>,
    nodes: Vec<Node>,
    roots: Vec<usize>,
}

/// A frame under its callers.
#[derive(Debug)]
struct Node {
    /// Its place among the texts.
    text: usize,
    /// What was sampled here, and what with all above it.
    own: u64,
    total: u64,
    children: Vec<usize>,
}

impl Tree {
    pub(crate) fn new(profile: &Profile) -> Self {
        let mut growing = Growing::default();
        let frames = profile.frames();
        let frames: Vec<Vec<usize>> = frames
            .map(|(_, frame)| growing.texts(profile, frame))
            .collect();
        for sample in profile.samples() {
            let value = profile.folded_value(&sample);
            if value > 0 {
                let root = growing.root(profile, &sample);
                let node = growing.node(profile, &frames, root, sample.stack);
                let own = &mut growing.tree.nodes[node].own;
                *own = own.saturating_add(value);
            }
        }
        growing.finish()
    }

    /// The sum of all values.
    pub(super) fn total(&self) -> u64 {
        let totals = self.roots.iter().map(|&root| self.nodes[root].total);
        totals.fold(0, u64::saturating_add)
    }

    /// How many frames are at least so wide.
    pub(super) fn wider_than(&self, least: u64) -> usize {
        let nodes = self.nodes.iter();
        nodes.filter(|node| node.total >= least).count()
    }

    /// The text and the value of each stack of at least `least`, sorted as lists of frames. What is
    /// less counts for the caller.
    ///
    /// Not sorted as text: as text, `a 1` and `a;b 1` have `a2 1` between them, and a flame graph of
    /// such lines draws `a` twice.
    pub(crate) fn lines(&self, least: u64, mut line: impl FnMut(&str, u64)) {
        let mut stack = String::new();
        // A stack of thousands of frames must not become one of as many calls.
        let mut waiting: Vec<(usize, usize)> = self.wide(&self.roots, least, 0);
        while let Some((node, length)) = waiting.pop() {
            let node = &self.nodes[node];
            stack.truncate(length);
            if length > 0 {
                stack.push(';');
            }
            stack.push_str(&self.texts[node.text]);
            let wide = self.wide(&node.children, least, stack.len());
            let of_children = wide.iter().map(|&(child, _)| self.nodes[child].total);
            let own = node.total.saturating_sub(of_children.sum());
            if own > 0 {
                line(&stack, own);
            }
            waiting.extend(wide);
        }
    }

    /// Those of `nodes` that are wide enough, the last in order first, below a text of a length.
    fn wide(&self, nodes: &[usize], least: u64, length: usize) -> Vec<(usize, usize)> {
        let wide = nodes.iter().rev();
        let wide = wide.filter(|&&node| self.nodes[node].total >= least.max(1));
        wide.map(|&node| (node, length)).collect()
    }
}

/// A tree that stacks are being put into.
#[derive(Debug, Default)]
struct Growing {
    tree: Tree,
    numbers: HashMap<String, usize, RandomState>,
    /// Texts by name and mark: most frames are others of the same functions.
    marked: HashMap<(StringId, &'static str), usize, RandomState>,
    /// Nodes by caller, if there is one, and text.
    places: HashMap<(Option<usize>, usize), usize, RandomState>,
    /// Nodes of stacks, which share their callers, by the node of the process or thread.
    known: HashMap<(usize, StackId), usize, RandomState>,
}

impl Growing {
    fn text(&mut self, text: String) -> usize {
        let next = self.tree.texts.len();
        *self.numbers.entry(text).or_insert_with_key(|text| {
            self.tree.texts.push(text.clone());
            next
        })
    }

    /// The functions of a frame, outermost first.
    fn texts(&mut self, profile: &Profile, frame: &Frame) -> Vec<usize> {
        let kernel = match frame.kind {
            FrameKind::Kernel => "_[k]",
            _ => "",
        };
        let Some(outermost) = frame.lines.len().checked_sub(1) else {
            return vec![self.text(name(&unnamed(profile, frame)) + kernel)];
        };
        let lines = frame.lines.iter().enumerate().rev();
        let texts = lines.map(|(depth, line)| {
            let function = profile.function(line.function);
            let mark = if depth < outermost { "_[i]" } else { kernel };
            self.marked(profile, function.name, mark)
        });
        texts.collect()
    }

    fn marked(&mut self, profile: &Profile, text: StringId, mark: &'static str) -> usize {
        if let Some(&known) = self.marked.get(&(text, mark)) {
            return known;
        }
        let number = self.text(name(profile.text(text)) + mark);
        self.marked.insert((text, mark), number);
        number
    }

    /// The node of the process that was sampled, or of the thread.
    fn root(&mut self, profile: &Profile, sample: &Sample<'_>) -> usize {
        let labels = sample.labels;
        let process = self.text(name(profile.text(labels.process)));
        let process = self.below(None, process);
        if !profile.by_thread {
            return process;
        }
        let thread = name(profile.text(labels.thread));
        let thread = self.text(format!("{thread} ({})", labels.tid));
        self.below(Some(process), thread)
    }

    /// The node of a stack.
    fn node(
        &mut self,
        profile: &Profile,
        frames: &[Vec<usize>],
        root: usize,
        stack: StackId,
    ) -> usize {
        let mut unknown = Vec::new();
        let (mut at, mut next) = (root, Some(stack));
        while let Some(stack) = next {
            if let Some(&known) = self.known.get(&(root, stack)) {
                at = known;
                break;
            }
            unknown.push(stack);
            next = profile.stack(stack).parent;
        }
        for stack in unknown.into_iter().rev() {
            for &text in &frames[profile.stack(stack).frame.index()] {
                at = self.below(Some(at), text);
            }
            self.known.insert((root, stack), at);
        }
        at
    }

    fn below(&mut self, caller: Option<usize>, text: usize) -> usize {
        let nodes = &mut self.tree.nodes;
        let next = nodes.len();
        let node = *self.places.entry((caller, text)).or_insert(next);
        if node == next {
            nodes.push(Node {
                text,
                own: 0,
                total: 0,
                children: Vec::new(),
            });
            match caller {
                Some(caller) => nodes[caller].children.push(node),
                None => self.tree.roots.push(node),
            }
        }
        node
    }

    /// Adds up, and sorts by text.
    fn finish(self) -> Tree {
        let mut tree = self.tree;
        // A node is younger than its caller, so that its total is whole when it is added.
        for node in (0..tree.nodes.len()).rev() {
            let children = std::mem::take(&mut tree.nodes[node].children);
            let totals = children.iter().map(|&child| tree.nodes[child].total);
            let total = totals.fold(tree.nodes[node].own, u64::saturating_add);
            tree.nodes[node].total = total;
            tree.nodes[node].children = sorted(children, &tree);
        }
        let roots = std::mem::take(&mut tree.roots);
        tree.roots = sorted(roots, &tree);
        tree
    }
}

fn sorted(mut nodes: Vec<usize>, tree: &Tree) -> Vec<usize> {
    nodes.sort_unstable_by_key(|&node| tree.texts[tree.nodes[node].text].as_str());
    nodes
}

/// `[libc.so.6]`, without the address, so that stacks through one file stay together.
pub(crate) fn unnamed(profile: &Profile, frame: &Frame) -> String {
    let Some(mapping) = frame.mapping else {
        return UNKNOWN.to_owned();
    };
    let path = profile.text(profile.mapping(mapping).name);
    let file = path.rsplit('/').next().unwrap_or(path);
    format!("[{}]", file.trim_matches(['[', ']']))
}

/// `name` as one frame that no reader takes for several, for a comment or for a count.
fn name(name: &str) -> String {
    let mut text = name.trim().replace(';', ":");
    if text.is_empty() {
        return UNKNOWN.to_owned();
    }
    if text.starts_with("# ") {
        text.replace_range(1..2, "_");
    }
    if let Some(space) = text.rfind(' ')
        && text[space + 1..]
            .chars()
            .all(|c| c.is_ascii_digit() || c == '.')
    {
        text.replace_range(space..=space, "_");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Labels, Meta, SampleType, Unit};

    /// What is narrower than asked for counts for its caller, and the sum stays.
    #[test]
    fn narrow_frames_count_for_their_callers() {
        let types = vec![SampleType::new("samples", Unit::Count)];
        let mut profile = Profile::new(Meta::default(), types);
        let process = profile.intern_string("p");
        let labels = Labels {
            pid: 1,
            tid: 1,
            process,
            thread: process,
            cgroup: None,
            slice: None,
            wait: None,
        };
        for (leaf, value) in [("a", 3), ("b", 20), ("c", 4), ("wide", 30)] {
            let frames = ["main", leaf].map(|name| profile.synthetic(name));
            let stack = profile.intern_frames(&frames).unwrap();
            profile.add(stack, labels, &[value]);
        }
        let lines = |least| {
            let mut lines = Vec::new();
            Tree::new(&profile).lines(least, |text, value| lines.push(format!("{text} {value}")));
            lines
        };
        let all = ["p;main;a 3", "p;main;b 20", "p;main;c 4", "p;main;wide 30"];
        assert_eq!(lines(1), all);
        assert_eq!(lines(20), ["p;main 7", "p;main;b 20", "p;main;wide 30"]);
        assert_eq!(lines(31), ["p;main 57"]);
    }

    #[test]
    fn names_that_readers_would_misread_are_changed() {
        // A separator, a comment mark and a trailing number do not survive in a name; other blanks do.
        let cases = [
            ("[u8; 8]", "[u8: 8]"),
            ("# note", "#_note"),
            ("worker 7", "worker_7"),
            ("v 1.2", "v_1.2"),
            ("operator new", "operator new"),
            ("  \u{a0}", UNKNOWN),
            ("", UNKNOWN),
        ];
        for (given, expected) in cases {
            assert_eq!(name(given), expected, "{given:?}");
        }
    }
}
