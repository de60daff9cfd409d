use super::*;

#[test]
fn processor_time_is_found_behind_a_name_with_spaces_and_parentheses() {
    let stat = "17 (a (b) c) S 1 17 17 0 -1 4194560 1 2 3 4 250 50 7 8 20 0 1 0 100 200 300";
    assert_eq!(cpu_seconds(stat), Some(3.0));
    assert_eq!(cpu_seconds(""), None);
    assert_eq!(cpu_seconds("17 (x) S 1"), None);
}

#[test]
fn a_field_is_found_by_its_whole_name() {
    let io = "rchar: 1\nwchar: 2\nread_bytes: 3\nwrite_bytes: 4096\ncancelled_write_bytes: 5\n";
    assert_eq!(field(io, "write_bytes"), Some(4096.0));
    assert_eq!(field("VmRSS:\t  1024 kB\n", "VmRSS"), Some(1024.0));
    assert_eq!(field(io, "VmRSS"), None);
}

#[test]
fn a_process_that_has_come_since_counts_from_its_start() {
    let process = |cpu_seconds, written_bytes| Process { cpu_seconds, written_bytes, rss_bytes: 1.0 };
    let before = Usage {
        servers: BTreeMap::from([(1, process(5.0, 100.0)), (2, process(9.0, 0.0))]),
        clients: BTreeMap::from([(3, process(1.0, 0.0))]),
    };
    let after = Usage {
        servers: BTreeMap::from([(1, process(7.0, 150.0)), (4, process(0.5, 25.0))]),
        clients: BTreeMap::from([(3, process(4.0, 5.0))]),
    };
    let spent = after.since(&before);
    assert_eq!(spent, Spent { server_cpu_seconds: 2.5, client_cpu_seconds: 3.0, written_bytes: 80.0 });
}
