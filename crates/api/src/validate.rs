//! Validation of objects: every fault of an object, each with its path and Kubernetes' sentence.

#[expect(dead_code, reason = "the validation of the kinds, which follows, uses the rest")]
pub(crate) mod names;
