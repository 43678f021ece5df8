//! Keeps equal texts once: most objects share their labels, node names and phases with many others.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Index, Labels};

/// How many different texts, and as many sets of labels, are known at once.
const KNOWN_MAX: usize = 16_384;

/// The texts and labels seen lately.
#[derive(Default)]
pub(crate) struct Interner {
    texts: HashSet<Arc<str>>,
    labels: HashSet<Arc<Labels>>,
}

impl Interner {
    /// Makes an index share what it has in common with others.
    pub(crate) fn share(&mut self, index: &mut Index) {
        make_room(&mut self.texts);
        make_room(&mut self.labels);
        share(&mut self.labels, &mut index.labels);
        for field in &mut index.fields {
            share(&mut self.texts, field);
        }
    }
}

fn share<T: ?Sized + Eq + std::hash::Hash>(known: &mut HashSet<Arc<T>>, value: &mut Arc<T>) {
    match known.get(value) {
        Some(same) => *value = Arc::clone(same),
        None => _ = known.insert(Arc::clone(value)),
    }
}

/// Forgets what fewer than two objects hold, or where that is too little, everything: that costs memory, not truth.
fn make_room<T: ?Sized + Eq + std::hash::Hash>(known: &mut HashSet<Arc<T>>) {
    if known.len() >= KNOWN_MAX {
        known.retain(|value| Arc::strong_count(value) > 2);
        if known.len() > KNOWN_MAX / 2 {
            known.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_and_the_pool_is_bounded() {
        let index = |text: &str| Index { fields: [Arc::from(text)].into(), ..Index::default() };
        let mut interner = Interner::default();
        let (mut one, mut other) = (index("a"), index("a"));
        interner.share(&mut one);
        interner.share(&mut other);
        assert!(Arc::ptr_eq(&one.fields[0], &other.fields[0]));
        let mut kept: Vec<Index> = (0..KNOWN_MAX * 2).map(|i| index(&i.to_string())).collect();
        kept.iter_mut().for_each(|index| interner.share(index));
        assert!(interner.texts.len() <= KNOWN_MAX);
        assert_eq!(&*kept[7].fields[0], "7");
    }
}
