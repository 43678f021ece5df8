//! How far a pull is, told now and then. Pure.

use std::collections::BTreeMap;

/// How many layers of an image are counted.
const LAYERS_MAX: usize = 512;
/// A pull is told of at each further quarter that has come: a few times.
const PARTS: u64 = 4;

/// The layers of an image, and how much of each has come.
pub struct Progress {
    image: String,
    layers: BTreeMap<String, (u64, u64)>,
    told_parts: u64,
}

impl Progress {
    /// Nothing has come yet.
    pub fn new(image: &str) -> Self {
        Self { image: image.to_owned(), layers: BTreeMap::new(), told_parts: 0 }
    }

    /// So many of so many bytes of a layer have come; gives what is to be told.
    pub fn note(&mut self, layer: String, current_bytes: u64, total_bytes: u64) -> Option<String> {
        if self.layers.len() < LAYERS_MAX || self.layers.contains_key(&layer) {
            self.layers.insert(layer, (current_bytes, total_bytes));
        }
        let current: u64 = self.layers.values().map(|(current, _)| current).sum();
        let total: u64 = self.layers.values().map(|(_, total)| total).sum();
        let parts = current.saturating_mul(PARTS).checked_div(total)?;
        if parts <= self.told_parts || parts >= PARTS {
            return None;
        }
        self.told_parts = parts;
        let mega = |bytes: u64| bytes.div_ceil(1_000_000);
        Some(format!("Pulling image \"{}\": {} of {} MB", self.image, mega(current), mega(total)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_quarter_is_told_once() {
        let mut progress = Progress::new("i");
        assert_eq!(progress.note("a".into(), 0, 10_000_000), None);
        assert_eq!(progress.note("a".into(), 3_000_000, 10_000_000).unwrap(), "Pulling image \"i\": 3 of 10 MB");
        assert_eq!(progress.note("a".into(), 4_500_000, 10_000_000), None);
        // Another layer makes the whole larger.
        assert_eq!(progress.note("b".into(), 0, 10_000_000), None);
        assert_eq!(progress.note("b".into(), 9_000_000, 10_000_000).unwrap(), "Pulling image \"i\": 14 of 20 MB");
        assert_eq!(progress.note("a".into(), 9_500_000, 10_000_000).unwrap(), "Pulling image \"i\": 19 of 20 MB");
        assert_eq!(progress.note("a".into(), 10_000_000, 10_000_000), None);
        assert_eq!(progress.note("b".into(), 10_000_000, 10_000_000), None);
        assert_eq!(Progress::new("i").note("a".into(), 0, 0), None);
    }
}
