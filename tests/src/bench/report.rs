//! Figures of places side by side, and their ratios.
//!
//! A ratio above 1 always means that Forebay is better, whether more of the metric is better or less. Places share one
//! machine with whatever else runs on it, so it is the ratios that count.

use std::fmt::Write;

use serde::Serialize;

use super::ours::Ours;
use super::place::Local;

const RATIO: &str = "ratio";
const RATIO_BEST_PEER: &str = "ratio_best_peer";

/// A ratio of a row, where it has one.
type Ratio = fn(&Row) -> Option<f64>;

/// What kind of metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// So much in a second: more is better.
    Rate,
    /// A time: less is better.
    Time,
    /// What it took of a resource: less is better.
    Cost,
}

/// One metric of one place.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// What was measured.
    pub metric: String,
    /// In what.
    pub unit: &'static str,
    /// Of what kind.
    pub kind: Kind,
    /// How much.
    pub value: f64,
}

impl Measured {
    /// A rate.
    pub fn rate(metric: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Measured { metric: metric.into(), unit, kind: Kind::Rate, value }
    }

    /// A time.
    pub fn time(metric: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Measured { metric: metric.into(), unit, kind: Kind::Time, value }
    }

    /// A cost.
    pub fn cost(metric: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Measured { metric: metric.into(), unit, kind: Kind::Cost, value }
    }
}

/// A line of the JSON output.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// What was measured.
    pub metric: String,
    /// In what.
    pub unit: &'static str,
    /// On what: `forebay`, `local`, a peer; or `ratio` (Forebay to local) or `ratio_best_peer`.
    pub label: &'static str,
    /// How much.
    pub value: f64,
}

/// All that was measured, a row for each metric.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
    labels: Vec<&'static str>,
}

#[derive(Debug)]
struct Row {
    metric: String,
    unit: &'static str,
    kind: Kind,
    values: Vec<(&'static str, f64)>,
}

impl Report {
    /// Adds what was measured on a place.
    pub fn add(&mut self, label: &'static str, measured: Vec<Measured>) {
        if !self.labels.contains(&label) {
            self.labels.push(label);
        }
        for Measured { metric, unit, kind, value } in measured {
            match self.rows.iter_mut().find(|row| row.metric == metric) {
                Some(row) => row.values.push((label, value)),
                None => self.rows.push(Row { metric, unit, kind, values: vec![(label, value)] }),
            }
        }
    }

    /// Every figure, those of a metric together, with its ratios.
    pub fn figures(&self) -> Vec<Figure> {
        let figures = |row: &Row| {
            let figure = |unit, label, value| Figure { metric: row.metric.clone(), unit, label, value };
            let mut all: Vec<Figure> =
                row.values.iter().map(|&(label, value)| figure(row.unit, label, value)).collect();
            all.extend(row.ratio().map(|ratio| figure("x", RATIO, ratio)));
            all.extend(row.ratio_best_peer().map(|ratio| figure("x", RATIO_BEST_PEER, ratio)));
            all
        };
        self.rows.iter().flat_map(figures).collect()
    }

    /// Tables for people: what was measured, then what it cost.
    pub fn tables(&self) -> String {
        let (costs, speeds): (Vec<&Row>, Vec<&Row>) = self.rows.iter().partition(|row| row.kind == Kind::Cost);
        let tables = [("metric", speeds), ("cost", costs)].map(|(title, rows)| self.table(title, &rows));
        tables.into_iter().flatten().collect::<Vec<_>>().join("\n")
    }

    /// One table, if there is anything in it; without columns that would be empty.
    fn table(&self, title: &str, rows: &[&Row]) -> Option<String> {
        let labels: Vec<&str> =
            self.labels.iter().copied().filter(|label| rows.iter().any(|row| row.value(label).is_some())).collect();
        let width = rows.iter().map(|row| row.metric.len()).max()?.max(title.len());
        let ratios: [(&str, Ratio); 2] = [(RATIO, Row::ratio), (RATIO_BEST_PEER, Row::ratio_best_peer)];
        let ratios: Vec<_> = ratios.into_iter().filter(|(_, of)| rows.iter().any(|row| of(row).is_some())).collect();
        let mut text = format!("{title:<width$}");
        labels.iter().for_each(|label| put(&mut text, 12, label));
        ratios.iter().for_each(|(label, _)| put(&mut text, 16, label));
        for row in rows {
            write!(text, "\n{:<width$}", row.metric).expect("writing to a string");
            for label in &labels {
                put(&mut text, 12, &row.value(label).map_or_else(|| "-".to_owned(), shown));
            }
            for (_, of) in &ratios {
                put(&mut text, 16, &of(row).map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}x")));
            }
            write!(text, "  {}", row.unit).expect("writing to a string");
        }
        Some(text + "\n")
    }
}

fn put(text: &mut String, width: usize, word: &str) {
    write!(text, " {word:>width$}").expect("writing to a string");
}

/// A number, with more digits the smaller it is.
fn shown(value: f64) -> String {
    if value.abs() >= 10.0 { format!("{value:.1}") } else { format!("{value:.3}") }
}

impl Row {
    fn value(&self, label: &str) -> Option<f64> {
        self.values.iter().find(|(of, _)| *of == label).map(|(_, value)| *value)
    }

    fn ratio(&self) -> Option<f64> {
        times_better(self.kind, self.value(Ours::LABEL)?, self.value(Local::LABEL)?)
    }

    fn ratio_best_peer(&self) -> Option<f64> {
        let ours = self.value(Ours::LABEL)?;
        let peers = self.values.iter().filter(|(label, _)| ![Ours::LABEL, Local::LABEL].contains(label));
        // Against the best of them, Forebay does worst.
        peers.filter_map(|&(_, value)| times_better(self.kind, ours, value)).reduce(f64::min)
    }
}

/// How many times better a value is than another; none when there is no such number.
fn times_better(kind: Kind, ours: f64, theirs: f64) -> Option<f64> {
    let (better, worse) = if kind == Kind::Rate { (ours, theirs) } else { (theirs, ours) };
    (better > 0.0 && worse > 0.0).then(|| better / worse)
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
