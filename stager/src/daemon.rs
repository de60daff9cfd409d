//! The loop: wait for Slurm's list, an answer, a request or a deadline; let the core decide; journal; perform.
//!
//! One task owns the core. Effects run as tasks of their own and answer over a bounded channel. A journal that cannot
//! be written ends the daemon: going on would promise what may be forgotten.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use forebay_wire::stager::{JobReport, JobStatus, Refusal};
use tokio::sync::{mpsc, oneshot, watch};

use crate::core::{Action, Core, Effect, EffectId, Input, Millis, Slot};
use crate::fs::StagingFs;
use crate::journal::{Journal, JournalError};
use crate::perform::Performer;
use crate::settings::Settings;
use crate::slurm::{Slurm, SlurmError};

/// Answers that may wait to be taken in.
const QUEUE: usize = 1024;
/// Longest pause of the loop.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Whose jobs a caller may see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caller {
    /// User id; 0 sees all.
    pub uid: u32,
}

/// What the server asks the loop.
#[derive(Debug)]
pub enum Question {
    /// A job, or all of the caller's.
    Status(Option<u32>),
    /// A job's report.
    Report(u32),
    /// Try again.
    Retry(u32),
    /// Stop.
    Cancel(u32),
}

/// What the loop answers.
#[derive(Debug)]
pub enum Told {
    /// Jobs.
    Jobs(Vec<JobStatus>),
    /// A report.
    Report(Box<JobReport>),
    /// No.
    Refused(Refusal),
}

enum Event {
    Input(Input),
    List(Result<Vec<crate::core::SlurmJob>, SlurmError>),
    Asked(Caller, Question, oneshot::Sender<Told>),
}

/// How the server reaches the loop.
#[derive(Clone)]
pub struct Handle {
    events: mpsc::Sender<Event>,
    changed: watch::Receiver<u64>,
}

impl Handle {
    /// Asks the loop; `None` when it has ended.
    pub async fn ask(&self, caller: Caller, question: Question) -> Option<Told> {
        let (reply, told) = oneshot::channel();
        self.events.send(Event::Asked(caller, question, reply)).await.ok()?;
        told.await.ok()
    }

    /// A number that changes with every step.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }
}

/// A wall clock that never goes backwards.
struct Clock {
    wall: Millis,
    since: Instant,
}

impl Clock {
    fn start() -> Self {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { wall: wall.as_millis() as Millis, since: Instant::now() }
    }

    fn now(&self) -> Millis {
        self.wall + self.since.elapsed().as_millis() as Millis
    }
}

/// The daemon's loop.
pub struct Daemon {
    core: Core,
    journal: Journal,
    clock: Clock,
    performer: Arc<Performer>,
    slurm: Arc<dyn Slurm>,
    poll: Duration,
    events: mpsc::Sender<Event>,
    queue: mpsc::Receiver<Event>,
    changed: watch::Sender<u64>,
    stops: HashMap<(crate::core::JobKey, Slot), watch::Sender<bool>>,
    slurm_down: bool,
}

impl Daemon {
    /// Recovers from the journal.
    pub fn new(
        settings: Settings,
        journal: Journal,
        slurm: Arc<dyn Slurm>,
        fs: Arc<dyn StagingFs>,
    ) -> Result<(Self, Handle), JournalError> {
        let clock = Clock::start();
        let records = journal.load()?;
        tracing::info!(records = records.len(), "journal read");
        let core = Core::recover(settings.policy, records, clock.now());
        let (events, queue) = mpsc::channel(QUEUE);
        let (changed, seen) = watch::channel(0);
        let handle = Handle { events: events.clone(), changed: seen };
        let performer = Arc::new(Performer::new(slurm.clone(), fs));
        let (poll, stops) = (settings.poll, HashMap::new());
        let daemon =
            Self { core, journal, clock, performer, slurm, poll, events, queue, changed, stops, slurm_down: false };
        Ok((daemon, handle))
    }

    /// What performs effects; a server checks scripts with it.
    #[must_use]
    pub fn performer(&self) -> Arc<Performer> {
        self.performer.clone()
    }

    /// Runs until `shutdown` completes. What is under way is dropped: it is asked for again at the next start.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) -> Result<(), JournalError> {
        tokio::pin!(shutdown);
        self.step(Input::Tick)?;
        let mut next_list = Instant::now();
        let mut listing = false;
        loop {
            if !listing && Instant::now() >= next_list {
                listing = true;
                let (slurm, events) = (self.slurm.clone(), self.events.clone());
                tokio::spawn(async move {
                    let list = slurm.jobs().await;
                    let _ = events.send(Event::List(list)).await;
                });
            }
            let pause = self.pause(if listing { LONGEST_PAUSE } else { next_list - Instant::now() });
            tokio::select! {
                () = &mut shutdown => return Ok(()),
                event = self.queue.recv() => match event {
                    None => return Ok(()),
                    Some(Event::Input(input)) => self.step(input)?,
                    Some(Event::List(list)) => {
                        listing = false;
                        next_list = Instant::now() + self.poll;
                        self.take_list(list)?;
                    }
                    Some(Event::Asked(caller, question, reply)) => {
                        let told = self.answer(caller, &question)?;
                        let _ = reply.send(told);
                    }
                },
                () = tokio::time::sleep(pause) => self.step(Input::Tick)?,
            }
        }
    }

    /// How long nothing has to be done.
    fn pause(&self, at_most: Duration) -> Duration {
        let deadline = self.core.next_deadline().map(|at| Duration::from_millis(at.saturating_sub(self.clock.now())));
        deadline.unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE).min(at_most).max(Duration::from_millis(1))
    }

    fn take_list(&mut self, list: Result<Vec<crate::core::SlurmJob>, SlurmError>) -> Result<(), JournalError> {
        match list {
            Ok(jobs) => {
                if std::mem::take(&mut self.slurm_down) {
                    tracing::info!("Slurm answers again");
                }
                self.step(Input::Snapshot(jobs))
            }
            Err(error) => {
                if !std::mem::replace(&mut self.slurm_down, true) {
                    tracing::warn!(%error, "Slurm's job list cannot be had; staging goes on, nothing is released");
                }
                Ok(())
            }
        }
    }

    fn step(&mut self, input: Input) -> Result<(), JournalError> {
        if let Input::Done(id, _) | Input::Failed(id, _) = &input {
            self.stops.remove(&(id.key.clone(), id.slot));
        }
        let mut effects = Vec::new();
        self.core.step(self.clock.now(), input, &mut effects);
        self.journal.write(&effects)?;
        for effect in effects {
            match effect {
                Effect::Journal(_) | Effect::Forget(_) => {}
                Effect::CancelTask(id) => {
                    if let Some(stop) = self.stops.get(&(id.key, id.slot)) {
                        let _ = stop.send(true);
                    }
                }
                Effect::Perform { id, action } => self.perform(id, *action),
            }
        }
        self.changed.send_modify(|version| *version = version.wrapping_add(1));
        Ok(())
    }

    fn perform(&mut self, id: EffectId, action: Action) {
        tracing::debug!(job = id.key.job, slot = ?id.slot, "performs");
        let (stop, stopped) = watch::channel(false);
        self.stops.insert((id.key.clone(), id.slot), stop);
        let (performer, events) = (self.performer.clone(), self.events.clone());
        tokio::spawn(async move {
            let (progress_events, progress_id) = (events.clone(), id.clone());
            // Progress that finds the queue full is dropped: newer follows.
            let report = move |progress| {
                let _ = progress_events.try_send(Event::Input(Input::Progress(progress_id.clone(), progress)));
            };
            let input = match performer.perform(action, stopped, report).await {
                Ok(answer) => Input::Done(id, answer),
                Err(problem) => {
                    tracing::info!(job = id.key.job, slot = ?id.slot, code = problem.code, "{}", problem.text);
                    Input::Failed(id, problem)
                }
            };
            let _ = events.send(Event::Input(input)).await;
        });
    }

    fn answer(&mut self, caller: Caller, question: &Question) -> Result<Told, JournalError> {
        let now = self.clock.now();
        let allowed = |uid: u32| caller.uid == 0 || caller.uid == uid;
        let job = match question {
            Question::Status(None) => {
                let own = self.core.records().filter(|record| allowed(record.seen.uid));
                return Ok(Told::Jobs(own.map(|record| self.core.status(record, now)).collect()));
            }
            Question::Status(Some(job)) | Question::Report(job) | Question::Retry(job) | Question::Cancel(job) => *job,
        };
        // Another user's job is answered for as if it were not there.
        let Some(record) = self.core.find(job).filter(|record| allowed(record.seen.uid)) else {
            let text = format!(
                "job {job} is not known to the stager: it has no #FOREBAY lines, is another user's, or is long over"
            );
            return Ok(Told::Refused(Refusal { exit_code: 2, code: "E-JOB-UNKNOWN".into(), text }));
        };
        let key = record.key.clone();
        let allowed = match question {
            Question::Report(_) => return Ok(Told::Report(Box::new(self.core.report(record, now)))),
            Question::Status(_) => return Ok(Told::Jobs(vec![self.core.status(record, now)])),
            Question::Retry(_) => self.core.may_retry(record).map(|()| Input::Retry(key)),
            Question::Cancel(_) => self.core.may_cancel(record).map(|()| Input::Cancel(key)),
        };
        match allowed {
            Err(refusal) => Ok(Told::Refused(refusal)),
            Ok(input) => {
                self.step(input)?;
                let now = self.clock.now();
                Ok(Told::Jobs(self.core.find(job).map(|record| self.core.status(record, now)).into_iter().collect()))
            }
        }
    }
}

#[cfg(test)]
#[path = "daemon_tests.rs"]
mod tests;
