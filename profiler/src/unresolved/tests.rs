use output::{Frame, Labels, Mapping, Meta, SampleType, Unit};

use super::*;

struct Scene {
    profile: Profile,
    nameless: HashMap<FrameId, Nameless, RandomState>,
}

impl Scene {
    fn new() -> Self {
        let types = vec![SampleType::new("samples", Unit::Count)];
        Self {
            profile: Profile::new(Meta::default(), types),
            nameless: HashMap::default(),
        }
    }

    fn frame(&mut self, file: &str, kind: FrameKind, reason: Option<Nameless>) -> FrameId {
        let name = self.profile.intern_string(file);
        let mapping = (!file.is_empty()).then(|| {
            self.profile.intern_mapping(Mapping {
                name,
                build_id: None,
                kind: match kind {
                    FrameKind::Kernel => MappingKind::Kernel,
                    _ => MappingKind::File,
                },
                size_bytes: 0,
            })
        });
        let frame = self.profile.intern_frame(Frame {
            mapping,
            address: u64::from(reason.is_some()),
            kind,
            lines: Vec::new(),
        });
        self.nameless.extend(reason.map(|reason| (frame, reason)));
        frame
    }

    fn add(&mut self, root_first: &[FrameId], samples: u64) {
        let process = self.profile.intern_string("node");
        let labels = Labels {
            pid: 1,
            tid: 1,
            process,
            thread: process,
            cgroup: None,
            slice: None,
            wait: None,
        };
        let stack = self.profile.intern_frames(root_first).unwrap();
        self.profile.add(stack, labels, &[samples]);
    }
}

const STRIPPED: Option<Nameless> = Some(Nameless::Miss(0));

/// What ran without a name is unresolved, what only called is not; a place counts once a stack; what
/// is lost is no part of the whole.
#[test]
fn what_ran_counts() {
    let mut scene = Scene::new();
    let named = scene.frame("/a", FrameKind::User, None);
    let stripped = scene.frame("/a", FrameKind::User, STRIPPED);
    let kernel = scene.frame("k", FrameKind::Kernel, None);
    let compiled = scene.frame("", FrameKind::User, Some(Nameless::Anonymous));
    let lost = scene.profile.synthetic("[lost: ring full]");
    let waker = scene.profile.synthetic("[woken by]");
    scene.add(&[stripped, stripped, named], 60);
    scene.add(&[named, stripped, kernel], 20);
    scene.add(&[named, compiled], 10);
    scene.add(&[named, kernel, waker, stripped], 10);
    let other = scene.frame("/b", FrameKind::User, STRIPPED);
    scene.add(&[other], 0);
    scene.add(&[lost], 1000);
    let unresolved = Unresolved::of(&mut scene.profile, &scene.nameless, false);
    assert_eq!((unresolved.total, unresolved.unresolved), (100, 30));
    let table = unresolved.table(true);
    let lines: Vec<_> = table.lines().collect();
    let rows = [
        "  20.0%       80.0%  /a: unnamed: no-symbols",
        "  10.0%       10.0%  memory of `node`: unnamed: anonymous-memory",
        "   0.0%        0.0%  /b: unnamed: no-symbols",
    ];
    assert_eq!(lines[1..4], rows);
    assert_eq!(lines.len(), 6, "{table}");
    assert!(lines[4].starts_with("unnamed: anonymous-memory: "));
    assert!(lines[4].contains("--perf-basic-prof"), "{table}");
    assert!(lines[5].starts_with("unnamed: no-symbols: "), "{table}");
}

/// Without `-v` the table has what matters, and nothing where all has a name.
#[test]
fn little_is_not_shown() {
    let mut scene = Scene::new();
    let named = scene.frame("/a", FrameKind::User, None);
    let stripped = scene.frame("/b", FrameKind::User, STRIPPED);
    scene.add(&[named], 999);
    scene.add(&[named, stripped], 1);
    let unresolved = Unresolved::of(&mut scene.profile, &scene.nameless, false);
    assert_eq!(unresolved.table(false), "");
    assert_eq!(unresolved.table(true).lines().count(), 3);
    assert!((unresolved.percent() - 0.1).abs() < 1e-9);
    assert!(Unresolved::default().percent().abs() < 1e-9);
}
