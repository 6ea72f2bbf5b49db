//! The printed table: figures, what they are compared with, and whether they reach their targets.

use std::fmt;

/// The target of a figure.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

/// The unit of a figure.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    Ratio,
    PerSecond,
    Millis,
    Megabytes,
}

/// A row of the table.
pub(crate) struct Row {
    pub(crate) name: String,
    /// What the figure is compared with; empty if it is absolute.
    pub(crate) compared_with: String,
    pub(crate) figure: f64,
    pub(crate) unit: Unit,
    pub(crate) target: Target,
    /// The measurements that the figure is computed from.
    pub(crate) details: String,
}

impl Row {
    /// Creates a row whose figure is a ratio.
    pub(crate) fn ratio(name: &str, compared_with: &str, figure: f64, target: Target, details: String) -> Self {
        Self {
            name: name.to_owned(),
            compared_with: compared_with.to_owned(),
            figure,
            unit: Unit::Ratio,
            target,
            details,
        }
    }

    /// Creates a row whose figure is only compared with its target.
    pub(crate) fn absolute(name: &str, figure: f64, unit: Unit, target: Target, details: &str) -> Self {
        Self { name: name.to_owned(), compared_with: String::new(), figure, unit, target, details: details.to_owned() }
    }

    fn is_reached(&self) -> bool {
        match self.target {
            Target::AtLeast(target) => self.figure >= target,
            Target::AtMost(target) => self.figure <= target,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, compared_with, figure, unit, target, details } = self;
        let target = match target {
            Target::AtLeast(target) => format!("≥ {}", unit.format(*target)),
            Target::AtMost(target) => format!("≤ {}", unit.format(*target)),
        };
        let reached = if self.is_reached() { "yes" } else { "**no**" };
        writeln!(f, "| {name} | {compared_with} | {} | {target} | {reached} | {details} |", unit.format(*figure))
    }
}

impl Unit {
    pub(crate) fn format(self, figure: f64) -> String {
        match self {
            Self::Ratio if figure < 10.0 => format!("{figure:.2} x"),
            Self::Ratio => format!("{figure:.0} x"),
            Self::PerSecond => format!("{}/s", with_thousands(figure)),
            Self::Millis if figure < 1.0 => format!("{:.0} µs", figure * 1000.0),
            Self::Millis if figure < 100.0 => format!("{figure:.2} ms"),
            Self::Millis => format!("{:.2} s", figure / 1000.0),
            Self::Megabytes => format!("{figure:.1} MB"),
        }
    }
}

/// Formats a number with its digits in groups of three.
pub(crate) fn with_thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// The first lines of the table.
pub(crate) const HEADER: &str = "\
| row | compared with | figure | target | reached | medians |
| --- | --- | --- | --- | --- | --- |
";
