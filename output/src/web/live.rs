//! What the page asks of a running agent, which is all that the web knows of one.

use std::fmt;

/// How a metric changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// It only grows, until the process starts anew.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// The word of the Prometheus text format.
impl fmt::Display for MetricKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        })
    }
}

/// One number about the health of the agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Such as `timesink_cpu_seconds_total`: with the unit, and `_total` for a counter.
    pub name: &'static str,
    /// One sentence. It is the same for all metrics of a name.
    pub help: &'static str,
    /// The same for all metrics of a name.
    pub kind: MetricKind,
    /// What tells metrics of one name apart, such as the cause of a loss.
    pub labels: Vec<(&'static str, String)>,
    /// How much.
    pub value: f64,
}

/// An agent that records. Calls may wait, and are made on threads that may.
pub trait Live: fmt::Debug + Send + Sync {
    /// Its numbers at this moment. The names that begin with `timesink_store_` are the web's own.
    fn metrics(&self) -> Vec<Metric>;

    /// Closes the window that is being recorded, so that the store has all up to this moment when this
    /// returns.
    ///
    /// # Errors
    /// When the window was not kept, with why in words.
    fn close_window(&self) -> Result<(), String>;

    /// Whether windows are recorded and kept.
    ///
    /// # Errors
    /// When not, with why in words.
    fn health(&self) -> Result<(), String>;
}
