//! Times as people read them.

/// Such as `250 ns`, `2.5 ms`, `10.0 s` or `3 min 5 s`.
#[must_use]
pub fn human_duration(nanos: u64) -> String {
    const SECOND: u64 = 1_000_000_000;
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{:.1} µs", nanos as f64 / 1e3),
        1_000_000..SECOND => format!("{:.1} ms", nanos as f64 / 1e6),
        _ if nanos < 60 * SECOND => format!("{:.1} s", nanos as f64 / 1e9),
        _ => format!("{} min {} s", nanos / SECOND / 60, nanos / SECOND % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_readable() {
        // Each magnitude gets the unit a person would choose.
        let cases = [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_500, "1.5 µs"),
            (2_500_000, "2.5 ms"),
            (10_000_000_000, "10.0 s"),
            (185_000_000_000, "3 min 5 s"),
        ];
        for (nanos, expected) in cases {
            assert_eq!(human_duration(nanos), expected);
        }
    }
}
