//! The flame graph of one range, or of two beside each other: stacks merged where the names are the same
//! from the root on, within a bound on how many frames there are.
//!
//! Does not know JSON but for the shape of a [`Frame`], nor where the profiles come from.

use std::collections::HashMap;

use serde::Serialize;

use crate::encode::{UNKNOWN, unnamed};
use crate::profile::{self, FrameKind, Handle, Profile, StackId};

/// The name of the frame for what is left out below another.
const PRUNED: &str = "[too small to show]";

/// What a frame of the flame graph is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// A process, at the root.
    Process,
    /// A function of a program.
    User,
    /// A function that the compiler put into its caller.
    Inlined,
    /// A function of the kernel.
    Kernel,
    /// What stands for something that is missing or that is no code, such as `[lost: ring full]`.
    Synthetic,
    /// What is left out because it is too small.
    Pruned,
}

/// How much the two sides have; the second is 0 where one range is shown.
pub(super) type Sides = [u64; 2];

fn add(to: &mut Sides, from: Sides) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = to.saturating_add(from);
    }
}

/// A name of a frame.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub(super) struct Name {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// A frame: the place of its caller among the frames, or -1; the place of its name among the names; what was
/// sampled in it and in all that it called, on both sides; and what was sampled in itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Frame(
    pub(super) i64,
    pub(super) usize,
    pub(super) Sides,
    pub(super) Sides,
);

/// The tree, callers before what they call and the children of one sorted by name.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Tree {
    pub(super) names: Vec<Name>,
    pub(super) frames: Vec<Frame>,
    /// The sums of all samples.
    pub(super) total: Sides,
    /// How many frames are not among `frames`.
    pub(super) left_out: usize,
}

#[derive(Debug)]
struct Node {
    name: usize,
    total: Sides,
    own: Sides,
    children: Vec<usize>,
}

impl Node {
    fn weight(&self) -> u64 {
        self.total.into_iter().max().unwrap_or(0)
    }
}

/// A tree that stacks are being put into.
#[derive(Debug, Default)]
pub(super) struct Growing {
    names: Vec<Name>,
    places: HashMap<Name, usize>,
    nodes: Vec<Node>,
    roots: Vec<usize>,
    /// Nodes by caller, if there is one, and name.
    known: HashMap<(Option<usize>, usize), usize>,
}

impl Growing {
    /// Adds a profile to one side, by one of its sample types.
    pub(super) fn add(&mut self, profile: &Profile, sample_type: usize, side: usize) {
        let frames: Vec<Vec<usize>> = profile
            .frames()
            .map(|(_, frame)| {
                let names = names(profile, frame).into_iter();
                names.map(|name| self.name(name)).collect()
            })
            .collect();
        // Stacks share their callers, by the node of their process.
        let mut stacks = HashMap::new();
        for sample in profile.samples() {
            let value = sample.values[sample_type];
            if value > 0 {
                let process = self.process(profile.text(sample.labels.process));
                let node = self.stack(profile, &frames, &mut stacks, process, sample.stack);
                let own = &mut self.nodes[node].own[side];
                *own = own.saturating_add(value);
            }
        }
    }

    fn name(&mut self, name: Name) -> usize {
        let next = self.names.len();
        *self.places.entry(name).or_insert_with_key(|name| {
            self.names.push(name.clone());
            next
        })
    }

    fn process(&mut self, name: &str) -> usize {
        let name = self.name(Name {
            name: known(name).to_owned(),
            kind: Kind::Process,
        });
        self.below(None, name)
    }

    fn stack(
        &mut self,
        profile: &Profile,
        frames: &[Vec<usize>],
        stacks: &mut HashMap<(usize, StackId), usize>,
        process: usize,
        stack: StackId,
    ) -> usize {
        let mut unknown = Vec::new();
        let (mut at, mut next) = (process, Some(stack));
        while let Some(stack) = next {
            if let Some(&known) = stacks.get(&(process, stack)) {
                at = known;
                break;
            }
            unknown.push(stack);
            next = profile.stack(stack).parent;
        }
        for stack in unknown.into_iter().rev() {
            for &name in &frames[profile.stack(stack).frame.index()] {
                at = self.below(Some(at), name);
            }
            stacks.insert((process, stack), at);
        }
        at
    }

    fn below(&mut self, caller: Option<usize>, name: usize) -> usize {
        let next = self.nodes.len();
        let node = *self.known.entry((caller, name)).or_insert(next);
        if node == next {
            self.nodes.push(Node {
                name,
                total: [0; 2],
                own: [0; 2],
                children: Vec::new(),
            });
            match caller {
                Some(caller) => self.nodes[caller].children.push(node),
                None => self.roots.push(node),
            }
        }
        node
    }

    /// The tree of the `most` heaviest frames; what is left out below a frame is one more.
    pub(super) fn finish(mut self, most: usize) -> Tree {
        self.add_up();
        let least = self.least(most);
        let pruned = self.name(Name {
            name: PRUNED.to_owned(),
            kind: Kind::Pruned,
        });
        let mut total = [0; 2];
        for &root in &self.roots {
            add(&mut total, self.nodes[root].total);
        }
        let (mut frames, mut waiting, mut shown) = (Vec::new(), Vec::new(), 0);
        let mut caller = -1;
        let mut children = std::mem::take(&mut self.roots);
        loop {
            let rest = self.split(&children, least, |node| waiting.push((node, caller)));
            if rest != [0; 2] {
                frames.push(Frame(caller, pruned, rest, rest));
            }
            let Some((node, its_caller)) = waiting.pop() else {
                break;
            };
            caller = frames.len() as i64;
            let node = &mut self.nodes[node];
            frames.push(Frame(its_caller, node.name, node.total, node.own));
            children = std::mem::take(&mut node.children);
            shown += 1;
        }
        let left_out = self.nodes.len() - shown;
        let names = used(self.names, &mut frames);
        Tree {
            names,
            frames,
            total,
            left_out,
        }
    }

    /// A node is younger than its caller, so that its total is whole when it is added.
    fn add_up(&mut self) {
        for node in (0..self.nodes.len()).rev() {
            let mut total = self.nodes[node].own;
            for &child in &self.nodes[node].children {
                add(&mut total, self.nodes[child].total);
            }
            self.nodes[node].total = total;
        }
    }

    /// The least weight that is shown. No frame is heavier than its caller, so that all callers of one that
    /// is shown are.
    fn least(&self, most: usize) -> u64 {
        if self.nodes.len() <= most {
            return 0;
        }
        let mut weights: Vec<u64> = self.nodes.iter().map(Node::weight).collect();
        let (_, &mut first_out, _) = weights.select_nth_unstable_by(most, |a, b| b.cmp(a));
        first_out.saturating_add(1)
    }

    /// Gives those of `nodes` that are heavy enough to `heavy`, the last by name first; the sum of the rest.
    fn split(&self, nodes: &[usize], least: u64, heavy: impl FnMut(usize)) -> Sides {
        let (mut shown, rest): (Vec<usize>, Vec<usize>) = nodes
            .iter()
            .partition(|&&node| self.nodes[node].weight() >= least);
        shown.sort_unstable_by_key(|&node| {
            let Name { name, kind } = &self.names[self.nodes[node].name];
            std::cmp::Reverse((name.as_str(), *kind))
        });
        shown.into_iter().for_each(heavy);
        let mut sum = [0; 2];
        for node in rest {
            add(&mut sum, self.nodes[node].total);
        }
        sum
    }
}

/// The names that frames have, which from then on have their places among these.
fn used(names: Vec<Name>, frames: &mut [Frame]) -> Vec<Name> {
    let mut places = vec![None; names.len()];
    let mut names: Vec<Option<Name>> = names.into_iter().map(Some).collect();
    let mut used = Vec::new();
    for Frame(_, name, ..) in frames {
        let old = *name;
        *name = *places[old].get_or_insert_with(|| {
            used.extend(names[old].take());
            used.len() - 1
        });
    }
    used
}

/// The functions of a frame, outermost first.
pub(super) fn names(profile: &Profile, frame: &profile::Frame) -> Vec<Name> {
    let kind = match frame.kind {
        FrameKind::User => Kind::User,
        FrameKind::Kernel => Kind::Kernel,
        FrameKind::Synthetic => Kind::Synthetic,
    };
    if frame.lines.is_empty() {
        let name = unnamed(profile, frame);
        return vec![Name { name, kind }];
    }
    let outermost = frame.lines.len() - 1;
    let lines = frame.lines.iter().enumerate().rev();
    lines
        .map(|(depth, line)| Name {
            name: known(profile.text(profile.function(line.function).name)).to_owned(),
            kind: if depth < outermost {
                Kind::Inlined
            } else {
                kind
            },
        })
        .collect()
}

fn known(name: &str) -> &str {
    match name.trim() {
        "" => UNKNOWN,
        name => name,
    }
}

#[cfg(test)]
mod tests;
