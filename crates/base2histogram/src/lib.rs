//! Histograms that count nothing, in the place of the crate of this name (`[patch.crates-io]` in the workspace's manifest).
//!
//! openraft keeps statistics of itself in them, whether they are read or not, and here they are not. Of the crate itself,
//! the first use makes tables for 16 resolutions, of which openraft needs one: 25 MiB, a third of an idle master.
//! Only what openraft names is here.

use std::fmt;
use std::marker::PhantomData;

/// Takes values and forgets them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram<T = ()>(PhantomData<T>);

impl<T> Histogram<T> {
    /// A histogram.
    pub const fn new() -> Self {
        Self(PhantomData)
    }

    /// Does nothing.
    pub const fn record(&mut self, _: u64) {}

    /// Does nothing.
    pub const fn record_n(&mut self, _: u64, _: u64) {}

    /// Nothing was counted.
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats::default()
    }
}

/// What a histogram would tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "percentiles, by their names")]
pub struct PercentileStats {
    pub samples: u64,
    pub p0_1: u64,
    pub p1: u64,
    pub p5: u64,
    pub p10: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not counted")
    }
}

/// A chart of nothing.
#[derive(Clone, Debug, Default)]
pub struct AsciiChart;

impl AsciiChart {
    /// A chart.
    pub const fn new() -> Self {
        Self
    }

    /// Does nothing.
    #[must_use]
    pub fn add<T>(self, _: &str, _: Histogram<T>) -> Self {
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not counted")
    }
}
