//! The loop with doors of the test's own: a Slurm of one job, a filesystem that remembers.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use forebay_env::MemoryKv;
use forebay_types::{FsId, InodeId, TaskId, TierId, Uuid};
use forebay_wire::stager::{JobPhase, StagerReply, StagerRequest, WaitFor};
use forebay_wire::tier::{Progress, TaskSpec, TaskState, TierUser};

use super::*;
use crate::client::{StagerClient, wait_code};
use crate::core::{JobRef, NodeMark, SlurmJob, SlurmState, ViewSpec};
use crate::fs::{Found, FsError, Located};
use crate::server::Server;

#[derive(Default)]
struct OneJob {
    job: Mutex<SlurmJob>,
}

#[async_trait]
impl Slurm for OneJob {
    async fn jobs(&self) -> Result<Vec<SlurmJob>, SlurmError> {
        Ok(vec![self.job.lock().unwrap().clone()])
    }
    async fn script(&self, _: u32) -> Result<Option<String>, SlurmError> {
        Ok(Some("#FOREBAY in s3://b/d/ as=d\n#FOREBAY scratch\n#FOREBAY out work:r s3://b/r/\n".into()))
    }
    async fn release(&self, _: &JobRef) -> Result<(), SlurmError> {
        let mut job = self.job.lock().unwrap();
        job.held = false;
        job.state = SlurmState::Running;
        job.nodes = "n1".into();
        Ok(())
    }
    async fn hold(&self, _: &JobRef) -> Result<(), SlurmError> {
        Ok(())
    }
    async fn cancel(&self, _: &JobRef) -> Result<(), SlurmError> {
        Ok(())
    }
    async fn set_admin_comment(&self, _: &JobRef, text: &str) -> Result<(), SlurmError> {
        self.job.lock().unwrap().admin_comment = text.into();
        Ok(())
    }
    async fn split(&self, _: u32, _: &[u32], _: &str) -> Result<(), SlurmError> {
        Ok(())
    }
}

#[derive(Default)]
struct Remembers {
    control: Mutex<BTreeMap<String, String>>,
    tasks: Mutex<BTreeMap<TaskId, TaskSpec>>,
}

#[async_trait]
impl StagingFs for Remembers {
    fn fs_id(&self) -> FsId {
        FsId(1)
    }
    async fn locate(&self, uri: &str) -> Result<Option<Located>, FsError> {
        Ok(uri.strip_prefix("s3://b/").map(|prefix| Located { tier: TierId(1), prefix: prefix.into() }))
    }
    async fn probe(&self, _: &Located, _: TierUser, _: bool) -> Result<Found, FsError> {
        Ok(Found { files: 2, bytes: 20, file: None, pin: "p".into() })
    }
    async fn ensure_dataset(&self, _: Uuid, _: u32, _: u32) -> Result<InodeId, FsError> {
        Ok(InodeId(5))
    }
    async fn set_hold(&self, _: Uuid, _: u32) -> Result<(), FsError> {
        Ok(())
    }
    async fn drop_hold(&self, _: Uuid, _: u32) -> Result<(), FsError> {
        Ok(())
    }
    async fn create_view(&self, _: &ViewSpec) -> Result<(), FsError> {
        Ok(())
    }
    async fn write_control(&self, _: u32, name: &str, content: &[u8]) -> Result<(), FsError> {
        self.control.lock().unwrap().insert(name.into(), String::from_utf8_lossy(content).into());
        Ok(())
    }
    async fn nodes(&self, _: u32, _: u32) -> Result<Vec<NodeMark>, FsError> {
        Ok(vec![NodeMark { node: "n1".into(), detached: true }])
    }
    async fn resolve(&self, _: u32, _: &str) -> Result<Option<InodeId>, FsError> {
        Ok(Some(InodeId(6)))
    }
    async fn jobs_directory(&self) -> Result<InodeId, FsError> {
        Ok(InodeId(7))
    }
    async fn start_task(&self, task: TaskId, spec: TaskSpec) -> Result<(), FsError> {
        self.tasks.lock().unwrap().insert(task, spec);
        Ok(())
    }
    async fn poll_task(&self, _: TaskId, _: u64, _: u32) -> Result<Progress, FsError> {
        let state = TaskState::Done;
        Ok(Progress { version: 1, state, files: 2, done_files: 2, bytes: 20, done_bytes: 20, moved_bytes: 20 })
    }
    async fn cancel_task(&self, _: TaskId) -> Result<(), FsError> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_staged_through_the_doors_and_its_user_follows_it_on_the_socket() {
    let uid = nix::unistd::getuid().as_raw();
    let job = SlurmJob {
        job: 7,
        submit_s: 1,
        uid,
        batch: true,
        held: true,
        admin_comment: forebay_directive::mark::COMMENT_WAITING.into(),
        ..SlurmJob::default()
    };
    let slurm = Arc::new(OneJob { job: Mutex::new(job) });
    let fs = Arc::new(Remembers::default());
    let settings = Settings { policy: crate::core::Policy::default(), poll: Duration::from_millis(20) };
    let journal = Journal::new(Arc::new(MemoryKv::new()));
    let (daemon, handle) = Daemon::new(settings, journal, slurm.clone(), fs.clone()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stagerd.sock");
    let server = Server::bind(&path, handle.clone(), daemon.performer()).unwrap();
    assert!(Server::bind(&path, handle, daemon.performer()).is_err(), "a second daemon is refused");
    let serving = tokio::spawn(server.run());
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(daemon.run(async {
        let _ = stopped.await;
    }));
    let asked = tokio::task::spawn_blocking(move || {
        let client = StagerClient::new(path);
        let wait = |until| client.call(StagerRequest::Wait { job: 7, until, timeout_ms: 20_000 }).unwrap();
        while matches!(client.call(StagerRequest::Status { job: Some(7) }).unwrap(), StagerReply::Refused(_)) {}
        let StagerReply::Job(ready) = wait(WaitFor::Ready) else { panic!("no job") };
        assert_eq!(wait_code(&ready, WaitFor::Ready), 0);
        // Ready comes before the release that makes the job run; what ended first would be made to run again.
        let until = std::time::Instant::now() + Duration::from_secs(20);
        while slurm.job.lock().unwrap().state != SlurmState::Running {
            assert!(std::time::Instant::now() < until, "the job was not released");
            client.call(StagerRequest::Status { job: Some(7) }).unwrap();
        }
        slurm.job.lock().unwrap().state = SlurmState::Completed;
        let StagerReply::Job(out) = wait(WaitFor::Out) else { panic!("no job") };
        assert_eq!(wait_code(&out, WaitFor::Out), 0, "{out:?}");
        assert!(matches!(out.phase, JobPhase::Done | JobPhase::Closed) && out.outputs[0].committed);
        let unknown = client.retry(99).unwrap();
        assert_eq!(unknown.exit_code, 2);
        assert!(unknown.text.contains("job 99"), "{}", unknown.text);
        let bad = client.call(StagerRequest::Check { script: "#FOREBAY inn s3://b/x\n".into() }).unwrap();
        let StagerReply::Checked(report) = bad else { panic!("no report") };
        assert_eq!((report.problems[0].line, report.problems[0].column > 0), (1, true));
        assert!(client.report(7).unwrap().text.contains("COMMITTED"));
    });
    asked.await.unwrap();
    let exports = |spec: &TaskSpec| matches!(spec, TaskSpec::Export { root: InodeId(6), .. });
    assert!(fs.tasks.lock().unwrap().values().any(exports));
    assert!(fs.control.lock().unwrap().contains_key("attach.json"));
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
    serving.abort();
}
