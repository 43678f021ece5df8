//! Lists that a patch merges item by item: by key where the items are objects, by value otherwise; and their order.

use serde_json::{Map, Value};

use super::facts::Fact;
use super::{DIRECTIVE, MergeError, ORDER_PREFIX, Type, error, merge_object};

/// How many pairs of items are compared at the most: a list of so many items is no list of containers or ports.
const PAIRS_MAX: usize = 4_000_000;

fn affordable(some: usize, others: usize) -> Result<(), MergeError> {
    // New items count too: each is compared with those before it.
    if some.saturating_mul(some.saturating_add(others)) > PAIRS_MAX {
        return error(format!("lists of {some} and {others} items are too long to be merged item by item"));
    }
    Ok(())
}

pub(super) fn merge(kind: Type, fact: &Fact, target: &mut Vec<Value>, patch: &[Value]) -> Result<(), MergeError> {
    affordable(patch.len(), target.len())?;
    if fact.patch_merge_key.is_empty() {
        let new = patch.iter().filter(|item| !target.contains(item)).cloned().collect::<Vec<_>>();
        target.extend(new);
        return Ok(());
    }
    if patch.iter().any(|item| directive(item) == Some("replace")) {
        target.clear();
    }
    patch.iter().try_for_each(|item| merge_item(kind, fact.patch_merge_key, target, item))
}

fn directive(item: &Value) -> Option<&str> {
    item.get(DIRECTIVE).map(|word| word.as_str().unwrap_or("?"))
}

fn merge_item(kind: Type, key: &str, target: &mut Vec<Value>, patch: &Value) -> Result<(), MergeError> {
    let Value::Object(item) = patch else {
        return error(format!("the patch has an item that is no object in a list that is merged by \"{key}\""));
    };
    match directive(patch) {
        None => {}
        Some("replace") => return Ok(()),
        Some("delete") => {
            let id = id_of(item, key)?;
            target.retain(|old| old.get(key) != Some(id));
            return Ok(());
        }
        Some("merge") => return error("merging lists cannot yet be specified in the patch"),
        Some(word) => return error(format!("unknown patch type \"{word}\" in a list")),
    }
    let id = id_of(item, key)?;
    match target.iter_mut().find(|old| old.get(key) == Some(id)) {
        Some(old) => merge_object(kind, super::object(old), item),
        None => {
            let mut new = Map::new();
            merge_object(kind, &mut new, item)?;
            target.push(Value::Object(new));
            Ok(())
        }
    }
}

fn id_of<'a>(item: &'a Map<String, Value>, key: &str) -> Result<&'a Value, MergeError> {
    let missing =
        || MergeError(format!("map: {} does not contain declared merge key: {key}", Value::from(item.clone())));
    item.get(key).filter(|id| !id.is_null()).ok_or_else(missing)
}

/// `$deleteFromPrimitiveList/field`: takes values out of a list.
pub(super) fn delete_values(
    kind: Type,
    target: &mut Map<String, Value>,
    field: &str,
    patch: &Value,
) -> Result<(), MergeError> {
    let primitive = kind.merging(field).is_some_and(|fact| fact.patch_merge_key.is_empty());
    let (true, Value::Array(gone)) = (primitive, patch) else {
        return error(format!("$deleteFromPrimitiveList/{field} needs a list, and a field that is a list of values"));
    };
    if let Some(Value::Array(items)) = target.get_mut(field) {
        affordable(gone.len(), items.len())?;
        items.retain(|item| !gone.contains(item));
    }
    Ok(())
}

/// A `$setElementOrder/field` directive: the client's order of a list, and the order before the patch.
pub(super) struct Order<'a> {
    field: &'a str,
    fact: &'static Fact,
    wanted: Vec<&'a Value>,
    before: Vec<Value>,
}

/// The orders that a patch asks for, read before it is merged into `target`.
pub(super) fn orders<'a>(
    kind: Type,
    target: &Map<String, Value>,
    patch: &'a Map<String, Value>,
) -> Result<Vec<Order<'a>>, MergeError> {
    let directives = patch.iter().filter_map(|(key, wanted)| Some((key.strip_prefix(ORDER_PREFIX)?, wanted)));
    directives.map(|(field, wanted)| Order::read(kind, target, patch, field, wanted)).collect()
}

impl<'a> Order<'a> {
    fn read(
        kind: Type,
        target: &Map<String, Value>,
        patch: &'a Map<String, Value>,
        field: &'a str,
        wanted: &'a Value,
    ) -> Result<Self, MergeError> {
        let (Some(fact), Value::Array(wanted)) = (kind.merging(field), wanted) else {
            return error(format!("$setElementOrder/{field} needs a list, and a field whose items are merged"));
        };
        affordable(wanted.len(), items(target, field).count() + items(patch, field).count())?;
        let wanted: Vec<&Value> = wanted.iter().filter_map(|item| identity(fact, item)).collect();
        let mut stays = items(patch, field).filter(|item| directive(item).is_none());
        if let Some(item) = stays.find(|item| identity(fact, item).is_some_and(|id| !wanted.contains(&id))) {
            return error(format!(
                "the items of \"{field}\" and its $setElementOrder do not agree: {item} is only in one"
            ));
        }
        let before = items(target, field).filter_map(|item| identity(fact, item)).cloned().collect();
        Ok(Self { field, fact, wanted, before })
    }

    /// Puts the merged list into order.
    pub(super) fn apply(&self, target: &mut Map<String, Value>) {
        if let Some(merged) = target.get_mut(self.field).and_then(Value::as_array_mut) {
            *merged = self.interleave(std::mem::take(merged));
        }
    }

    /// The items that the client knows in its order; each of the others before the first of them that it stood before.
    fn interleave(&self, merged: Vec<Value>) -> Vec<Value> {
        let (mut known, others): (Vec<_>, Vec<_>) =
            merged.into_iter().partition(|item| self.place(item, &self.wanted).is_some());
        known.sort_by_key(|item| self.place(item, &self.wanted));
        let before: Vec<&Value> = self.before.iter().collect();
        let mut others = others.into_iter().peekable();
        let mut ordered = Vec::new();
        for item in known {
            let place = self.place(&item, &before);
            while let Some(other) = others.next_if(|other| place.is_some() && self.place(other, &before) < place) {
                ordered.push(other);
            }
            ordered.push(item);
        }
        ordered.extend(others);
        ordered
    }

    fn place(&self, item: &Value, among: &[&Value]) -> Option<usize> {
        let id = identity(self.fact, item)?;
        among.iter().position(|other| *other == id)
    }
}

fn items<'a>(object: &'a Map<String, Value>, field: &str) -> impl Iterator<Item = &'a Value> {
    object.get(field).and_then(Value::as_array).into_iter().flatten()
}

/// What an item is known by: the merge key's value, or itself.
fn identity<'a>(fact: &Fact, item: &'a Value) -> Option<&'a Value> {
    if fact.patch_merge_key.is_empty() { Some(item) } else { item.get(fact.patch_merge_key) }
}
