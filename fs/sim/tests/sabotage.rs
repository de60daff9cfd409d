//! The checkers notice: something is broken on purpose, and the right rule is seen broken, soon.

use std::panic::{AssertUnwindSafe, catch_unwind};

use forebay_sim::{Rule, Sabotage, run};

/// Seeds tried at most.
const SEEDS: u64 = 60;

/// A rule of these is broken within a few seeds, or a core itself refuses to go on.
fn noticed(sabotage: Sabotage, rules: &[Rule], panics: bool) {
    let mut others = Vec::new();
    for seed in 0..SEEDS {
        match catch_unwind(AssertUnwindSafe(|| run(seed, Some(sabotage)))) {
            Ok(outcome) => {
                if let Some(violation) = outcome.violations.iter().find(|v| rules.contains(&v.rule)) {
                    println!("{sabotage:?}: seed {seed}: {violation}");
                    return;
                }
                others.extend(outcome.violations.into_iter().map(|violation| (seed, violation.to_string())));
            }
            Err(_) if panics => return println!("{sabotage:?}: seed {seed}: a core has panicked"),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    panic!("{sabotage:?} was not noticed in {SEEDS} seeds; seen: {others:#?}");
}

#[test]
fn disks_that_lie_are_noticed() {
    noticed(Sabotage::LyingDisks, &[Rule::ReplicasAgree, Rule::Linearizable, Rule::ExactlyOnce], true);
}

#[test]
fn answers_before_leases_are_given_back_are_noticed() {
    noticed(Sabotage::AnswersWithoutBarrier, &[Rule::Linearizable], false);
}

#[test]
fn leases_kept_are_noticed() {
    noticed(Sabotage::KeptBeliefs, &[Rule::Linearizable, Rule::LeasesExclusive], false);
}

#[test]
fn clocks_beyond_what_is_promised_are_noticed() {
    noticed(Sabotage::SlowClocks, &[Rule::Linearizable, Rule::LeasesExclusive], false);
}

#[test]
fn operations_that_happen_twice_are_noticed() {
    noticed(Sabotage::FreshNumbers, &[Rule::ExactlyOnce], false);
}

#[test]
fn exclusive_leases_beside_others_are_noticed() {
    noticed(Sabotage::SharedExclusives, &[Rule::LeasesExclusive], false);
}

#[test]
fn transactions_left_behind_are_noticed() {
    noticed(Sabotage::ForgottenOutbox, &[Rule::ComesToRest], false);
}

#[test]
fn open_files_that_vanish_are_noticed() {
    noticed(Sabotage::ForgottenOpens, &[Rule::OpenFilesStay], false);
}

#[test]
fn orphans_are_noticed() {
    noticed(Sabotage::KeptOrphans, &[Rule::ComesToRest], false);
}

#[test]
fn a_row_that_one_replica_has_lost_is_noticed() {
    noticed(Sabotage::LostRow, &[Rule::FsckClean, Rule::ReplicasAgree], false);
}
