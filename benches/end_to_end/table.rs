//! The table of results: measurement, baseline, goal.

use std::fmt;

/// What a figure has to reach.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

/// What a figure counts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    /// A ratio.
    Times,
    PerSecond,
    Millis,
    Megabytes,
}

/// A line of the table.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) against: &'static str,
    pub(crate) figure: f64,
    pub(crate) unit: Unit,
    pub(crate) goal: Goal,
    /// What the figure was made from.
    pub(crate) from: String,
}

impl Row {
    fn is_reached(&self) -> bool {
        match self.goal {
            Goal::AtLeast(least) => self.figure >= least,
            Goal::AtMost(most) => self.figure <= most,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, against, figure, unit, goal, from } = self;
        let goal = match goal {
            Goal::AtLeast(least) => format!("≥ {}", unit.show(*least)),
            Goal::AtMost(most) => format!("≤ {}", unit.show(*most)),
        };
        let reached = if self.is_reached() { "yes" } else { "**no**" };
        writeln!(f, "| {what} | {against} | {} | {goal} | {reached} | {from} |", unit.show(*figure))
    }
}

impl Unit {
    pub(crate) fn show(self, figure: f64) -> String {
        match self {
            Self::Times if figure < 10.0 => format!("{figure:.2} x"),
            Self::Times => format!("{figure:.0} x"),
            Self::PerSecond => format!("{}/s", thousands(figure)),
            Self::Millis if figure < 0.1 => format!("{:.0} µs", figure * 1000.0),
            Self::Millis if figure < 100.0 => format!("{figure:.2} ms"),
            Self::Millis => format!("{:.2} s", figure / 1000.0),
            Self::Megabytes => format!("{figure:.1} MB"),
        }
    }
}

/// Digits in groups of three.
pub(crate) fn thousands(figure: f64) -> String {
    let digits = format!("{figure:.0}");
    let mut shown = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// The table's first lines.
pub(crate) const HEAD: &str = "\
| row | measured against | figure | must reach | reached | medians |
| --- | --- | --- | --- | --- | --- |
";
