use std::sync::Arc;
use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::metadata::TICK;

const TERM: u64 = 7;
/// The shortest time in which followers that have just heard of a leader may elect another: their next tick may come at
/// once, the others at the shortest distance that drivers let pass.
const OTHERS_WAIT_NS: u64 = (ELECTION_TICKS as u64 - 1) * TICK_LEAST.as_nanos() as u64;

fn leads(confirmed_ns: Option<u64>) -> LeadState {
    LeadState { leader: Some(HostId(1)), ready: Some(TERM), confirmed_ns }
}

fn deposed() -> LeadState {
    LeadState { leader: Some(HostId(2)), ready: None, confirmed_ns: None }
}

fn lead(state: LeadState) -> Arc<Lead> {
    let lead = Lead::new();
    lead.set(state);
    Arc::new(lead)
}

/// The lease ends before others may elect, and lasts for several confirmations.
const _: () = {
    assert!(TICK_LEAST.as_nanos() < TICK.as_nanos());
    // Clocks that run apart by one in a hundred are broken.
    assert!(LEASE_NS < OTHERS_WAIT_NS / 100 * 99);
    let confirm_ns = crate::metadata::driver::CONFIRM_TICKS as u64 * TICK.as_nanos() as u64;
    assert!(LEASE_NS / confirm_ns >= 4);
};

proptest! {
    /// Others may lead from `OTHERS_WAIT_NS` after the last confirmed moment on, with clocks a hundredth faster than
    /// ours: a read that came later than that must not be answered from here.
    #[test]
    fn no_read_is_answered_that_came_when_others_may_have_led(
        confirmed in proptest::option::of(0_u64..4_000_000_000), since in 0_u64..4_000_000_000, took in 0_u64..1_500_000_000
    ) {
        let (permit, now) = (Permit { term: TERM, since_ns: since }, since + took);
        if leads(confirmed).allows(permit, now) {
            let confirmed = confirmed.expect("nothing is answered where nothing was confirmed");
            prop_assert!(since < confirmed + OTHERS_WAIT_NS / 100 * 99, "{since} against {confirmed}");
            let in_time = now < confirmed + OTHERS_WAIT_NS / 100 * 99;
            prop_assert!(in_time || confirmed >= since, "read until {now}, which {confirmed} does not vouch for");
        }
    }

    #[test]
    fn who_was_confirmed_a_moment_ago_need_not_ask(confirmed in any::<u32>(), age in 0..LEASE_NS) {
        let (confirmed, now) = (u64::from(confirmed), u64::from(confirmed) + age);
        let (permit, old) = (Permit { term: TERM, since_ns: now }, Permit { term: TERM - 1, since_ns: now });
        prop_assert!(leads(Some(confirmed)).allows(permit, now));
        prop_assert!(!leads(Some(confirmed)).allows(old, now), "of another term");
        prop_assert!(!deposed().allows(permit, now));
    }
}

/// Nothing confirmed was the moment 0: the first 0.8 s of a host counted as confirmed.
#[test]
fn a_host_s_start_is_no_confirmation() {
    for now in [0, 1, LEASE_NS - 1] {
        assert!(!leads(None).allows(Permit { term: TERM, since_ns: now }, now));
    }
}

#[tokio::test]
async fn a_read_waits_for_a_confirmation_of_a_moment_after_its_arrival() {
    let (arrived, old) = (10 * LEASE_NS, Some(LEASE_NS));
    let lead = lead(leads(old));
    let permit = lead.begin(arrived).unwrap();
    let waiting = lead.clone();
    let read = tokio::spawn(async move { waiting.confirm(permit, arrived + LEASE_NS).await });
    tokio::task::yield_now().await;
    // One of before, too old by now.
    lead.set(leads(Some(arrived - 1)));
    tokio::task::yield_now().await;
    assert!(!read.is_finished(), "answered with what was confirmed before it came");
    lead.set(leads(Some(arrived)));
    assert_eq!(read.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn who_is_deposed_while_a_read_waits_says_who_leads() {
    let lead = lead(leads(None));
    let permit = lead.begin(LEASE_NS).unwrap();
    let (waiting, start) = (lead.clone(), Instant::now());
    let read = tokio::spawn(async move { waiting.confirm(permit, LEASE_NS).await });
    tokio::task::yield_now().await;
    lead.set(deposed());
    assert_eq!(read.await.unwrap(), Err(Some(HostId(2))));
    assert!(start.elapsed() < CONFIRM_WAIT, "it waited for what cannot come");
    assert_eq!(lead.begin(LEASE_NS).err(), Some(Some(HostId(2))));
}

#[tokio::test]
async fn a_leader_cut_off_answers_nothing() {
    let lead = lead(leads(Some(0)));
    let now = OTHERS_WAIT_NS;
    let permit = lead.begin(now).unwrap();
    assert_eq!(lead.confirm(permit, now).await, Err(Some(HostId(1))));
}
