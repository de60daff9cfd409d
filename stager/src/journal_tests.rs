use forebay_env::MemoryKv;

use super::*;
use crate::core::{Core, Input, Policy, SlurmJob, SlurmState};

fn some_record() -> Record {
    let mut core = Core::new(Policy::default());
    let job = SlurmJob {
        job: 7,
        submit_s: 100,
        uid: 1000,
        state: SlurmState::Pending,
        admin_comment: "forebay:req in s3://b/k/ as=x".into(),
        ..SlurmJob::default()
    };
    core.step(1, Input::Snapshot(vec![job]), &mut Vec::new());
    core.find(7).unwrap().clone()
}

#[test]
fn what_was_written_is_loaded_after_a_crash() {
    let kv = Arc::new(MemoryKv::new());
    let record = some_record();
    Journal::new(kv.clone()).write(&[Effect::Journal(Box::new(record.clone()))]).unwrap();
    kv.crash(0);
    assert_eq!(Journal::new(kv.clone()).load().unwrap(), std::slice::from_ref(&record));
    Journal::new(kv.clone()).write(&[Effect::Forget(record.key)]).unwrap();
    assert!(Journal::new(kv).load().unwrap().is_empty());
}

#[test]
fn a_record_of_another_version_is_refused_and_named() {
    let kv = Arc::new(MemoryKv::new());
    let mut batch = Batch::default();
    batch.put(key_of(&some_record().key), vec![99, b'{', b'}']);
    kv.write(batch, Durability::Flushed).unwrap();
    let error = Journal::new(kv).load().unwrap_err();
    assert!(error.to_string().contains("format 99"), "{error}");
}

#[test]
fn a_damaged_record_is_refused() {
    let kv = Arc::new(MemoryKv::new());
    let mut batch = Batch::default();
    batch.put(key_of(&some_record().key), vec![RECORD_VERSION, b'{']);
    kv.write(batch, Durability::Flushed).unwrap();
    assert!(matches!(Journal::new(kv).load(), Err(JournalError::Damaged { .. })));
}
