//! The text format of Prometheus, 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>), and what the store itself has to tell.

use std::fmt::Write;

use crate::store::Kept;

use super::live::{Metric, MetricKind};

/// The content type of [`text`].
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics, those of one name together, in the order in which names are first met.
pub(super) fn text(metrics: &[Metric]) -> String {
    let mut text = String::new();
    for (at, first) in metrics.iter().enumerate() {
        if metrics[..at].iter().any(|known| known.name == first.name) {
            continue;
        }
        let Metric {
            name, help, kind, ..
        } = first;
        // Writing to a string does not fail.
        let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", escape(help));
        for metric in metrics[at..].iter().filter(|metric| metric.name == *name) {
            let _ = writeln!(text, "{name}{} {}", labels(metric), metric.value);
        }
    }
    text
}

fn labels(metric: &Metric) -> String {
    let pairs = metric.labels.iter();
    let pairs: Vec<String> = pairs
        .map(|(name, value)| format!("{name}=\"{}\"", escape(value).replace('"', "\\\"")))
        .collect();
    match pairs.is_empty() {
        true => String::new(),
        false => format!("{{{}}}", pairs.join(",")),
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n")
}

/// What a store has, in metrics.
pub(super) fn of_store(kept: &Kept) -> Vec<Metric> {
    let gauge = |name, help, value| Metric {
        name,
        help,
        kind: MetricKind::Gauge,
        labels: Vec::new(),
        value,
    };
    let seconds = |ns: Option<i64>| ns.map(|ns| ns as f64 / 1e9);
    let oldest = seconds(kept.oldest_ns).map(|value| {
        let help = "When the oldest window in the store begins, in seconds from the Unix epoch.";
        gauge("timesink_store_oldest_timestamp_seconds", help, value)
    });
    let newest = seconds(kept.newest_ns).map(|value| {
        let help = "When the newest window in the store ends, in seconds from the Unix epoch.";
        gauge("timesink_store_newest_timestamp_seconds", help, value)
    });
    let sizes = [
        gauge(
            "timesink_store_bytes",
            "Bytes of the store on disk.",
            kept.bytes as f64,
        ),
        gauge(
            "timesink_store_windows",
            "Windows in the store, of every resolution.",
            kept.windows as f64,
        ),
        gauge(
            "timesink_store_damaged",
            "Parts of the store that were found damaged and are left out of every answer.",
            kept.damaged as f64,
        ),
    ];
    sizes.into_iter().chain(oldest).chain(newest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Metrics of one name have one head, wherever they stand, and labels are escaped.
    #[test]
    fn names_have_one_head() {
        let lost = |cause: &str, value| Metric {
            name: "lost_total",
            help: "Lost\nsamples.",
            kind: MetricKind::Counter,
            labels: vec![("cause", cause.to_owned())],
            value,
        };
        let between = Metric {
            name: "bytes",
            help: "Bytes.",
            kind: MetricKind::Gauge,
            labels: Vec::new(),
            value: 0.5,
        };
        let expected = "# HELP lost_total Lost\\nsamples.\n\
             # TYPE lost_total counter\n\
             lost_total{cause=\"ring \\\"full\\\"\"} 12\n\
             lost_total{cause=\"a\\\\b\\nc\"} 3\n\
             # HELP bytes Bytes.\n\
             # TYPE bytes gauge\n\
             bytes 0.5\n";
        let metrics = [lost("ring \"full\"", 12.0), between, lost("a\\b\nc", 3.0)];
        assert_eq!(text(&metrics), expected);
    }
}
