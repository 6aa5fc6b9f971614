//! Amounts of money. Portkey's analytics count US cents, its budgets US dollars.

use std::{
    fmt,
    iter::Sum,
    ops::{Add, AddAssign},
};

use serde::{Serialize, Serializer};
use serde_json::{Number, Value};

/// An amount in US dollars, held in ten-thousandths of a cent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Dollars(i64);

/// Parts of a dollar that are held.
const PARTS: f64 = 1_000_000.0;

impl Dollars {
    /// Returns an amount of a budget.
    pub(super) fn from_dollars(dollars: f64) -> Self {
        // A cast saturates, and makes NaN zero.
        #[expect(clippy::cast_possible_truncation, reason = "saturates")]
        Self((dollars * PARTS).round() as i64)
    }

    /// Returns an amount of analytics.
    pub(super) fn from_cents(cents: f64) -> Self {
        Self::from_dollars(cents / 100.0)
    }

    /// Returns the amount as a number.
    #[expect(clippy::cast_precision_loss, reason = "shown with two decimals")]
    pub(super) fn as_dollars(self) -> f64 {
        self.0 as f64 / PARTS
    }

    /// Returns the absolute difference.
    pub(super) const fn difference(self, other: Self) -> u64 {
        self.0.abs_diff(other.0)
    }

    /// Returns the difference as it is shown.
    pub(super) fn signed_difference(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Returns the share of a whole in percent with one decimal; null if the whole is nothing.
    pub(super) fn percent_of(self, whole: Self) -> Value {
        match whole.0 {
            0 => Value::Null,
            _ => rounded(self.as_dollars() / whole.as_dollars() * 100.0, 10.0),
        }
    }

    /// Returns the change from an earlier amount in percent with one decimal; null if there was none.
    pub(super) fn change_percent(self, earlier: Self) -> Value {
        self.signed_difference(earlier).percent_of(earlier)
    }
}

/// Returns a number with as many decimals as `parts` has zeros; null if it is not finite.
fn rounded(number: f64, parts: f64) -> Value {
    Number::from_f64((number * parts).round() / parts).map_or(Value::Null, Value::Number)
}

/// Reads an amount of cents, which some answers have as text.
pub(super) fn cents_of(value: &Value) -> Option<Dollars> {
    let cents = match value {
        Value::String(text) => text.parse().ok()?,
        other => other.as_f64()?,
    };
    f64::is_finite(cents).then(|| Dollars::from_cents(cents))
}

impl Add for Dollars {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Dollars {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Dollars {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), Add::add)
    }
}

impl From<Dollars> for Value {
    fn from(amount: Dollars) -> Self {
        rounded(amount.as_dollars(), 100.0)
    }
}

impl Serialize for Dollars {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Value::from(*self).serialize(serializer)
    }
}

impl fmt::Display for Dollars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2}", self.as_dollars())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    #[test]
    fn cents_become_dollars_once() {
        for (cents, dollars) in [
            (json!(109_463.238_85), json!(1094.63)),
            (json!("1723.70385"), json!(17.24)),
            (json!(0), json!(0.0)),
        ] {
            assert_eq!(Value::from(cents_of(&cents).unwrap()), dollars);
        }
        for value in [json!("many"), json!(null), json!("NaN")] {
            assert_eq!(cents_of(&value), None, "{value}");
        }
    }

    #[test]
    fn shares_of_nothing_are_unknown() {
        let five = Dollars::from_dollars(5.0);
        assert_eq!(five.percent_of(Dollars::default()), Value::Null);
        assert_eq!(five.percent_of(Dollars::from_dollars(20.0)), json!(25.0));
        assert_eq!(
            Dollars::from_dollars(4.0).change_percent(five),
            json!(-20.0)
        );
    }
}
