//! The table: a budget, its goal, what was measured.

use std::fmt::Write as _;

/// A measured budget.
#[derive(Debug)]
pub(crate) struct Row {
    budget: String,
    goal: Goal,
    measured: f64,
    unit: &'static str,
    note: String,
}

/// What the measured value must be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

impl Row {
    pub(crate) fn new(budget: impl Into<String>, goal: Goal, measured: f64, unit: &'static str) -> Self {
        Self { budget: budget.into(), goal, measured, unit, note: String::new() }
    }

    /// Adds what helps to understand the figure.
    pub(crate) fn note(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }

    pub(crate) fn is_met(&self) -> bool {
        match self.goal {
            Goal::AtMost(most) => self.measured <= most,
            Goal::AtLeast(least) => self.measured >= least,
        }
    }

    fn cells(&self) -> [String; 5] {
        let (sign, goal) = match self.goal {
            Goal::AtMost(most) => ("<=", most),
            Goal::AtLeast(least) => (">=", least),
        };
        let verdict = if self.is_met() { "ok" } else { "MISSED" };
        [
            self.budget.clone(),
            format!("{sign} {goal} {}", self.unit),
            format!("{} {}", number(self.measured), self.unit),
            verdict.to_owned(),
            self.note.clone(),
        ]
    }
}

/// All rows under one heading, in Markdown.
pub(crate) fn table(rows: &[Row]) -> String {
    let heading = ["budget", "goal", "measured", "", ""].map(str::to_owned);
    let cells: Vec<_> = std::iter::once(heading).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(width);
    let mut text = String::new();
    for (index, [budget, goal, measured, verdict, note]) in cells.iter().enumerate() {
        let _ = writeln!(text, "| {budget:a$} | {goal:b$} | {measured:>c$} | {verdict:d$} | {note:e$} |");
        if index == 0 {
            let rules = [a, b, c - 1, d, e].map(|width| "-".repeat(width));
            let [a, b, c, d, e] = rules;
            let _ = writeln!(text, "| {a} | {b} | {c}: | {d} | {e} |");
        }
    }
    text
}

/// Three digits that count.
pub(crate) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        large if large >= 100.0 => 0,
        middle if middle >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}
