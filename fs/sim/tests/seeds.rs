//! Seeds: those that once found something, and fresh ones.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use forebay_sim::run;

/// Says how to see a failure again, whether a rule was broken or a core has panicked.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to replay: FOREBAY_SIM_SEED={} cargo nextest run -p forebay-sim fresh_seeds", self.0);
        }
    }
}

fn check(seed: u64) -> u64 {
    let _replay = Replay(seed);
    let outcome = run(seed, None);
    let all: Vec<String> = outcome.violations.iter().take(10).map(ToString::to_string).collect();
    assert!(all.is_empty(), "seed {seed}: {}\n{}", all.join("\n"), outcome.weather);
    outcome.digest
}

#[test]
fn same_seed_same_digest() {
    for seed in [1, 2, 3] {
        assert_eq!(check(seed), check(seed), "seed {seed}");
    }
    assert_ne!(check(1), check(2));
}

/// A step that found something held answered `Busy`, which the source's host took for 'not done yet': asked for ever.
#[test]
fn seed_1_asks_a_step_for_ever() {
    check(1);
}

/// Attributes in a late answer did not count, though the directory was believed again: the client's own change was missed.
#[test]
fn seed_123_misses_a_change_of_its_own() {
    check(123);
}

/// A leader whose successor had crashed confirmed nothing any more, and led for ever.
#[test]
fn seed_184_hands_over_to_nobody() {
    check(184);
}

/// The late answer to a create made a client believe a name that others had removed since.
#[test]
fn seed_208_believes_a_late_answer() {
    check(208);
}

/// An introduction that came after a later one had its session's leases forgotten, which went on believing.
#[test]
fn seed_324_introduces_itself_late() {
    check(324);
}

/// What a mutation had changed of what its own client believed was told with the first answer only, which was lost.
#[test]
fn seed_10142232301200837244_loses_the_word_of_its_own_change() {
    check(10_142_232_301_200_837_244);
}

/// Seeds drawn from outside, for `FOREBAY_SIM_SECONDS` (60, or 3 in the profile `fast`); or the one of
/// `FOREBAY_SIM_SEED`.
#[test]
fn fresh_seeds() {
    if let Ok(seed) = std::env::var("FOREBAY_SIM_SEED") {
        check(seed.parse().expect("FOREBAY_SIM_SEED is a number"));
        return;
    }
    let fast = std::env::var("NEXTEST_PROFILE").is_ok_and(|profile| profile == "fast");
    let seconds = match std::env::var("FOREBAY_SIM_SECONDS") {
        Ok(seconds) => seconds.parse().expect("FOREBAY_SIM_SECONDS is a number"),
        Err(_) => {
            if fast {
                3
            } else {
                60
            }
        }
    };
    let since = Instant::now();
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_nanos() as u64;
    let first = clock.rotate_left(20) ^ u64::from(std::process::id());
    let mut count = 0;
    while since.elapsed() < Duration::from_secs(seconds) {
        check(first.wrapping_add(count));
        count += 1;
    }
    println!("{count} seeds from {first} on, in {:.1} s", since.elapsed().as_secs_f32());
}
