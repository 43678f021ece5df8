//! Resource quantities as integers: milli-cores and bytes. The grammar is that of
//! `k8s.io/apimachinery/pkg/api/resource.Quantity`.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// What a quantity could not be read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
pub struct NotAQuantity;

/// Thousandths of the unit, rounded up: milli-cores for `cpu`. Saturates at `i64`'s ends.
pub fn milli(quantity: &Quantity) -> Result<i64, NotAQuantity> {
    thousandths(&quantity.0)
}

/// Whole units, rounded up: bytes for `memory`, pieces for `pods`. Saturates at `i64`'s ends.
pub fn units(quantity: &Quantity) -> Result<i64, NotAQuantity> {
    let thousandths = wide_thousandths(&quantity.0)?;
    Ok(clamp(thousandths.div_euclid(1000) + i128::from(thousandths.rem_euclid(1000) > 0)))
}

fn thousandths(text: &str) -> Result<i64, NotAQuantity> {
    wide_thousandths(text).map(clamp)
}

fn clamp(wide: i128) -> i64 {
    i64::try_from(wide).unwrap_or(if wide < 0 { i64::MIN } else { i64::MAX })
}

fn wide_thousandths(text: &str) -> Result<i128, NotAQuantity> {
    let _ = text;
    Err(NotAQuantity)
}
