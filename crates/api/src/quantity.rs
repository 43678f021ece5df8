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

/// What a suffix multiplies by: a power of ten or a power of two.
#[derive(Clone, Copy)]
enum Scale {
    Ten(i32),
    Two(u32),
}

/// Digits beyond these do not fit an `i128` after scaling; they count as zeros or as "a little more".
const SIGNIFICANT_DIGITS_MAX: usize = 19;
/// Past this power of ten every quantity is either saturated or below a thousandth.
const EXPONENT_MAX: i32 = 60;

fn wide_thousandths(text: &str) -> Result<i128, NotAQuantity> {
    let (negative, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (true, text.get(1..)),
        Some(b'+') => (false, text.get(1..)),
        _ => (false, Some(text)),
    };
    let unsigned = unsigned.ok_or(NotAQuantity)?;
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let scale = scale(suffix)?;
    let decimal = Decimal::parse(number)?;
    let size = decimal.thousandths(scale);
    // Rounded up: away from zero where positive, towards it where negative.
    Ok(if negative { -size.floor } else { size.ceiling })
}

fn scale(suffix: &str) -> Result<Scale, NotAQuantity> {
    Ok(match suffix {
        "" => Scale::Ten(0),
        "n" => Scale::Ten(-9),
        "u" => Scale::Ten(-6),
        "m" => Scale::Ten(-3),
        "k" => Scale::Ten(3),
        "M" => Scale::Ten(6),
        "G" => Scale::Ten(9),
        "T" => Scale::Ten(12),
        "P" => Scale::Ten(15),
        "E" => Scale::Ten(18),
        "Ki" => Scale::Two(10),
        "Mi" => Scale::Two(20),
        "Gi" => Scale::Two(30),
        "Ti" => Scale::Two(40),
        "Pi" => Scale::Two(50),
        "Ei" => Scale::Two(60),
        exponent => Scale::Ten(parse_exponent(exponent)?),
    })
}

fn parse_exponent(text: &str) -> Result<i32, NotAQuantity> {
    let number = text.strip_prefix(['e', 'E']).ok_or(NotAQuantity)?;
    let exponent: i32 = number.parse().map_err(|_| NotAQuantity)?;
    Ok(exponent.clamp(-EXPONENT_MAX, EXPONENT_MAX))
}

/// `mantissa × 10^exponent`, and whether digits were left out behind it.
struct Decimal {
    mantissa: i128,
    exponent: i32,
    more: bool,
}

struct Rounded {
    floor: i128,
    ceiling: i128,
}

impl Decimal {
    fn parse(text: &str) -> Result<Self, NotAQuantity> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(NotAQuantity);
        }
        let mut decimal = Self { mantissa: 0, exponent: 0, more: false };
        let mut digits = 0;
        let places = std::iter::repeat_n(false, whole.len()).chain(std::iter::repeat_n(true, fraction.len()));
        for (digit, fractional) in whole.bytes().chain(fraction.bytes()).zip(places) {
            let digit = i128::from(digit - b'0');
            digits += usize::from(digits > 0 || digit > 0);
            decimal.push(digit, fractional, digits <= SIGNIFICANT_DIGITS_MAX);
        }
        Ok(decimal)
    }

    fn push(&mut self, digit: i128, fractional: bool, fits: bool) {
        if fits {
            self.mantissa = self.mantissa * 10 + digit;
            self.exponent = self.exponent.saturating_sub(i32::from(fractional));
        } else {
            self.more |= digit > 0;
            self.exponent = self.exponent.saturating_add(i32::from(!fractional));
        }
    }

    fn thousandths(&self, scale: Scale) -> Rounded {
        let (ten, two) = match scale {
            Scale::Ten(exponent) => (exponent, 0),
            Scale::Two(exponent) => (0, exponent),
        };
        let exponent = self.exponent.saturating_add(ten).saturating_add(3);
        let scaled = self.mantissa.saturating_mul(1 << two);
        let power = 10_i128.checked_pow(exponent.unsigned_abs()).unwrap_or(i128::MAX);
        if exponent >= 0 {
            let exact = scaled.saturating_mul(power);
            return Rounded { floor: exact, ceiling: exact.saturating_add(i128::from(self.more)) };
        }
        let floor = scaled / power;
        let rest = scaled % power > 0 || self.more;
        Rounded { floor, ceiling: floor + i128::from(rest) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(cases: &[(&str, Option<(i64, i64)>)]) {
        for (text, expected) in cases {
            let quantity = Quantity((*text).to_owned());
            let found = milli(&quantity).and_then(|m| units(&quantity).map(|u| (m, u))).ok();
            assert_eq!(found, *expected, "{text}");
        }
    }

    #[test]
    fn grammar() {
        check(&[
            ("0", Some((0, 0))),
            ("1", Some((1000, 1))),
            ("+1", Some((1000, 1))),
            ("-1", Some((-1000, -1))),
            ("100m", Some((100, 1))),
            ("1500m", Some((1500, 2))),
            ("0.1", Some((100, 1))),
            (".5", Some((500, 1))),
            ("5.", Some((5000, 5))),
            ("0.1m", Some((1, 1))),
            ("1n", Some((1, 1))),
            ("1u", Some((1, 1))),
            ("0n", Some((0, 0))),
            ("1k", Some((1_000_000, 1000))),
            ("1Ki", Some((1_024_000, 1024))),
            ("1.5Gi", Some((1_610_612_736_000, 1_610_612_736))),
            ("128Mi", Some((134_217_728_000, 134_217_728))),
            ("12e6", Some((12_000_000_000, 12_000_000))),
            ("1E3", Some((1_000_000, 1000))),
            ("1E", Some((i64::MAX, 1_000_000_000_000_000_000))),
            ("5e-1", Some((500, 1))),
            ("1e-3", Some((1, 1))),
            ("100E", Some((i64::MAX, i64::MAX))),
            ("99999999999999999999999999", Some((i64::MAX, i64::MAX))),
            ("0.00000000000000000000000001", Some((1, 1))),
            ("1e999", Some((i64::MAX, i64::MAX))),
        ]);
        let bad = [
            "", " 1", "1 ", "1,5", "a", "1.2.3", ".", "-", "1mi", "1K", "1ki", "1e", "1e1.5", "1MiB", "--1", "0x1",
            "1i",
        ];
        check(&bad.map(|text| (text, None)));
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in ".{0,40}") {
            let _ = milli(&Quantity(text));
        }

        #[test]
        fn suffixes_scale(n in 0_i64..1_000_000) {
            prop_assert_eq!(milli(&Quantity(format!("{n}m"))), Ok(n));
            prop_assert_eq!(units(&Quantity(format!("{n}Ki"))), Ok(n * 1024));
            prop_assert_eq!(units(&Quantity(format!("{n}e3"))), Ok(n * 1000));
            prop_assert_eq!(units(&Quantity(format!("-{n}"))), Ok(-n));
        }
    }
}
