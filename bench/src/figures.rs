//! Figures and the table they are printed in.

use std::time::Duration;

/// One line of the table.
pub struct Row {
    what: String,
    measured: String,
    ratio: String,
    budget: &'static str,
}

impl Row {
    /// A figure beside its budget.
    pub fn new(what: impl Into<String>, measured: impl Into<String>, budget: &'static str) -> Self {
        Self { what: what.into(), measured: measured.into(), ratio: String::new(), budget }
    }

    /// The same, with its ratio to a peer of the same run; one more, where there are several.
    #[must_use]
    pub fn ratio(mut self, own: f64, peer: f64, name: &str) -> Self {
        let separator = if self.ratio.is_empty() { "" } else { ", " };
        self.ratio = format!("{}{separator}{:.2} × {name}", self.ratio, own / peer.max(f64::MIN_POSITIVE));
        self
    }
}

/// Begins a Markdown table.
pub fn print_heading() {
    println!("| what | measured | ratio | budget |\n|---|---|---|---|");
}

/// Prints rows of the table.
pub fn print(rows: &[Row]) {
    for Row { what, measured, ratio, budget } in rows {
        println!("| {what} | {measured} | {ratio} | {budget} |");
    }
}

/// Samples, sorted.
pub struct Samples(Vec<Duration>);

impl Samples {
    /// Sorts them.
    pub fn new(mut samples: Vec<Duration>) -> Self {
        samples.sort_unstable();
        Self(samples)
    }

    /// The sample that `share` of all (0 to 1) do not exceed; zero where there is none.
    pub fn percentile(&self, share: f64) -> Duration {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index within the samples")]
        let index = (self.0.len() as f64 * share) as usize;
        self.0.get(index.min(self.0.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    /// How many there are.
    pub const fn count(&self) -> usize {
        self.0.len()
    }

    /// `p50 … p99 …`.
    pub fn p50_p99(&self) -> String {
        format!("p50 {}, p99 {}", millis(self.percentile(0.5)), millis(self.percentile(0.99)))
    }
}

/// The figure that half of all do not exceed; zero where there is none.
pub fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

/// Milliseconds, with as many decimals as say something.
pub fn millis(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1000.0;
    if millis < 10.0 { format!("{millis:.2} ms") } else { format!("{millis:.0} ms") }
}
