use super::*;

fn good() -> Record {
    let mut record = Record { hosts_killed: 2, leftovers: Some(0), ..Record::default() };
    let check = |node: &str| NodeCheck { node: node.to_owned(), files: 10, bytes: 100, checksum_errors: 0 };
    for job in [1, 2] {
        let checks = vec![check("n1"), check("n2")];
        let state = "COMPLETED".to_owned();
        record.add(JobRecord { job, state, checks, out_objects: 3, out_verified: 3, ..JobRecord::default() });
    }
    record
}

#[test]
fn figures_of_jobs_add_up() {
    let record = good();
    assert_eq!((record.in_files, record.in_bytes, record.out_objects, record.out_verified), (10, 100, 6, 6));
    assert_eq!(record.faults(), Vec::<String>::new());
}

#[test]
fn every_figure_that_is_wrong_is_a_fault() {
    let spoil: [fn(&mut Record); 8] = [
        |r| r.error = Some("step 4".to_owned()),
        |r| r.job_state = "FAILED".to_owned(),
        |r| r.checksum_errors = 1,
        |r| r.hosts_killed = 1,
        |r| (r.out_objects, r.out_verified) = (0, 0),
        |r| r.out_verified -= 1,
        |r| r.nodes_drained = 1,
        |r| r.leftovers = Some(1),
    ];
    for spoil in spoil {
        let mut record = good();
        spoil(&mut record);
        assert_eq!(record.faults().len(), 1, "{record:?}");
    }
}

#[test]
fn the_first_bad_state_stays() {
    let mut record = Record::default();
    for state in ["COMPLETED", "FAILED", "COMPLETED"] {
        record.add(JobRecord { state: state.to_owned(), ..JobRecord::default() });
    }
    assert_eq!(record.job_state, "FAILED");
}

#[test]
fn checks_are_read_from_a_jobs_output() {
    let text = "noise\nCHECK {\"node\": \"n2\", \"files\": 3, \"bytes\": 7, \"checksum_errors\": 1}\nCHECK broken\n";
    assert_eq!(checks(text), [NodeCheck { node: "n2".to_owned(), files: 3, bytes: 7, checksum_errors: 1 }]);
}
