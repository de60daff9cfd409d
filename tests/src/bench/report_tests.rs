use super::*;

fn report() -> Report {
    let measured = |rate, time, cost| {
        vec![
            Measured::rate("creation", "ops/s", rate),
            Measured::time("p99", "us", time),
            Measured::cost("cpu", "s/1000 ops", cost),
        ]
    };
    let mut report = Report::default();
    report.add("forebay", measured(300.0, 50.0, 2.0));
    report.add("local", vec![Measured::rate("creation", "ops/s", 600.0)]);
    report.add("gluster", measured(100.0, 400.0, 0.0));
    report.add("mfs", measured(150.0, 200.0, 1.0));
    report
}

fn value(report: &Report, metric: &str, label: &str) -> Option<f64> {
    let figures = report.figures();
    figures.iter().find(|figure| figure.metric == metric && figure.label == label).map(|figure| figure.value)
}

#[test]
fn a_ratio_above_one_means_better_whatever_is_better() {
    let report = report();
    assert_eq!(value(&report, "creation", "ratio"), Some(0.5));
    assert_eq!(value(&report, "creation", "ratio_best_peer"), Some(2.0));
    assert_eq!(value(&report, "p99", "ratio_best_peer"), Some(4.0));
    assert_eq!(value(&report, "cpu", "ratio_best_peer"), Some(0.5));
}

#[test]
fn what_was_not_measured_has_no_ratio() {
    let report = report();
    assert_eq!(value(&report, "p99", "ratio"), None);
    assert_eq!(times_better(Kind::Rate, 1.0, 0.0), None);
    assert_eq!(times_better(Kind::Time, f64::NAN, 1.0), None);
}

#[test]
fn a_figure_is_a_line_of_json() {
    let figures = report().figures();
    let line = serde_json::to_string(&figures[0]).expect("plain data");
    assert_eq!(line, r#"{"metric":"creation","unit":"ops/s","label":"forebay","value":300.0}"#);
}

#[test]
fn costs_have_a_table_of_their_own() {
    let tables = report().tables();
    let lines: Vec<Vec<&str>> = tables.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["metric", "forebay", "local", "gluster", "mfs", "ratio", "ratio_best_peer"]);
    assert_eq!(lines[1], ["creation", "300.0", "600.0", "100.0", "150.0", "0.500x", "2.000x", "ops/s"]);
    assert_eq!(lines[2], ["p99", "50.0", "-", "400.0", "200.0", "-", "4.000x", "us"]);
    assert_eq!(lines[4], ["cost", "forebay", "gluster", "mfs", "ratio_best_peer"]);
    assert_eq!(lines[5], ["cpu", "2.000", "0.000", "1.000", "0.500x", "s/1000", "ops"]);
    assert_eq!(Report::default().tables(), "");
}
