use super::*;

fn growth(looks: &[(u64, u64)]) -> Vec<Growth> {
    let looks = looks.iter();
    looks
        .map(|&(time_ns, bytes)| Growth { time_ns, bytes })
        .collect()
}

/// A line counts from the look on before which it was not there.
#[test]
fn lines_count_from_the_look_before_them() {
    let growth = growth(&[(1000, 100), (3000, 180), (9000, 300)]);
    let cases = [
        (1, 0),
        (100, 0),
        (101, 1001),
        (180, 1001),
        (181, 3001),
        (301, 9001),
    ];
    for (end, since) in cases {
        assert_eq!(written_ns(&growth, end), since, "{end}");
    }
    assert_eq!(written_ns(&[], 5), 0);
}

fn map(kind: Kind, names: &[(u64, &'static str)]) -> MapNames<&'static str> {
    MapNames {
        kind,
        names: HashMap::from([(0x1000, names.to_vec())]),
        cut: None,
    }
}

fn life(from_ns: u64, maps: Vec<MapNames<&'static str>>) -> LifeNames<&'static str> {
    LifeNames {
        from_ns,
        maps,
        without: Unlisted::NoMap,
    }
}

fn places(lives: Vec<LifeNames<&'static str>>) -> JitPlaces<&'static str> {
    JitPlaces {
        processes: HashMap::from([(7, lives)]),
    }
}

/// The name is that of the time; before all of them a perf map's first one serves, a jitdump's does
/// not; without a time it is the last.
#[test]
fn names_hold_from_their_time_on() {
    let names = [(100, "a"), (200, "b")];
    let text = places(vec![life(0, vec![map(Kind::PerfMap, &names)])]);
    let binary = places(vec![life(0, vec![map(Kind::Jitdump, &names)])]);
    for places in [&text, &binary] {
        for (time, name) in [(100, "a"), (199, "a"), (200, "b"), (u64::MAX, "b")] {
            assert_eq!(places.get(7, 0x1000, Some(time)), Ok(&name));
        }
        assert_eq!(places.get(7, 0x1000, None), Ok(&"b"));
        assert_eq!(
            places.get(7, 0x1001, None),
            Err(unlisted(Miss::NotInJitMap))
        );
        assert_eq!(places.get(8, 0x1000, None), Err(Unlisted::NoMap));
    }
    assert_eq!(text.get(7, 0x1000, Some(99)), Ok(&"a"));
    let missing = Err(unlisted(Miss::NotInJitMap));
    assert_eq!(binary.get(7, 0x1000, Some(99)), missing);
}

/// What times do not tell, the map without times may.
#[test]
fn a_jitdump_goes_before_a_perf_map() {
    let both = vec![
        map(Kind::Jitdump, &[(100, "timed")]),
        map(Kind::PerfMap, &[(0, "listed")]),
    ];
    let places = places(vec![life(0, both)]);
    assert_eq!(places.get(7, 0x1000, Some(150)), Ok(&"timed"));
    assert_eq!(places.get(7, 0x1000, Some(50)), Ok(&"listed"));
}

/// No life has the names of another, and what happened at an unknown time has none of two.
#[test]
fn lives_are_apart() {
    let two = |first: bool| {
        let maps = |name, has: bool| match has {
            true => vec![map(Kind::PerfMap, &[(0, name)])],
            false => Vec::new(),
        };
        places(vec![
            life(0, maps("old", first)),
            life(500, maps("new", true)),
        ])
    };
    let both = two(true);
    assert_eq!(both.get(7, 0x1000, Some(499)), Ok(&"old"));
    assert_eq!(both.get(7, 0x1000, Some(500)), Ok(&"new"));
    assert_eq!(both.get(7, 0x1000, None), Err(Unlisted::OtherProgram));
    let one = two(false);
    assert_eq!(one.get(7, 0x1000, Some(499)), Err(Unlisted::NoMap));
    assert_eq!(one.get(7, 0x1000, None), Ok(&"new"));
}
