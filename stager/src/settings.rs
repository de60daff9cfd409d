//! From `site.toml` to what the core and the loop go by.

use std::time::Duration;

use forebay_site_config::{Backoff, GateKind, Retries, Seconds, SiteConfig};

use crate::core::{Millis, Policy};

/// What the loop goes by.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// What the core goes by.
    pub policy: Policy,
    /// Time between two looks at Slurm's job list.
    pub poll: Duration,
}

fn ms(seconds: Seconds) -> Millis {
    seconds.0.saturating_mul(1000)
}

fn pauses(backoff: Backoff) -> (Millis, Millis) {
    (ms(backoff.first), ms(backoff.longest))
}

fn tries(retries: Retries) -> u32 {
    match retries {
        Retries::Forever => u32::MAX,
        Retries::AtMost(tries) => tries,
    }
}

impl Settings {
    /// Reads the settings out of a site's configuration.
    #[must_use]
    pub fn of(config: &SiteConfig) -> Self {
        let defaults = Policy::default();
        let policy = Policy {
            cluster: config.cluster.name.clone(),
            mount: config.node.mount.display().to_string(),
            lazy_by_default: config.gate.default == GateKind::Lazy,
            max_transfers: config.stage_in.max_transfers.max(1) as usize,
            backoff_ms: pauses(config.stage_in.backoff),
            tries: tries(config.stage_in.retries),
            give_up_ms: ms(config.stage_in.give_up),
            out_backoff_ms: pauses(config.stage_out.backoff),
            out_tries: tries(config.stage_out.retries),
            park_after_ms: ms(config.stage_out.park_after),
            keep_parked_ms: ms(config.stage_out.keep_parked),
            hold_max_ms: ms(config.gate.hold_max),
            // Epilog's own wait is over when Slurm says that the job has ended; what it handed over gets as long again.
            flush_budget_ms: ms(config.flush.epilog_budget).saturating_mul(2).max(defaults.flush_budget_ms),
            comment_interval_ms: ms(config.slurm.comment_min_interval),
            comments: config.notify.admin_comment,
            ..defaults
        };
        Self { poll: config.slurm.poll.duration(), policy }
    }
}

/// Local time less UTC, in seconds, as `date` has it; 0 where it cannot be told.
pub async fn utc_offset_s() -> i64 {
    let asked = tokio::process::Command::new("/bin/date").arg("+%z").kill_on_drop(true).output();
    match tokio::time::timeout(Duration::from_secs(5), asked).await {
        Ok(Ok(output)) => read_offset(&String::from_utf8_lossy(&output.stdout)).unwrap_or(0),
        _ => 0,
    }
}

/// Seconds of an offset as `+0530`.
fn read_offset(text: &str) -> Option<i64> {
    let text = text.trim();
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = digits.split_at_checked(2)?;
    Some(sign * (hours.parse::<i64>().ok()? * 3_600 + minutes.parse::<i64>().ok()? * 60))
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
