use super::*;

#[test]
fn the_line_of_groups() {
    assert_eq!(parse("Name:\tcat\nGid:\t1 1 1 1\nGroups:\t4 24 1000 \nNStgid:\t7\n"), [4, 24, 1000]);
    assert_eq!(parse("Name:\tcat\nGroups:\t\n"), [0; 0]);
    assert_eq!(parse(""), [0; 0]);
}

#[test]
fn nobody_is_asked_for_the_superuser_or_a_stranger() {
    let cache = GroupCache::default();
    assert!(cache.of(Caller { uid: 0, gid: 0, pid: std::process::id() }).is_empty());
    assert!(cache.of(Caller { uid: 1, gid: 1, pid: 0 }).is_empty());
    assert!(cache.known.lock().unwrap().is_empty());
}

#[test]
fn the_own_group_is_left_out() {
    let cache = GroupCache::default();
    let own = parse(&std::fs::read_to_string("/proc/self/status").unwrap());
    for gid in own.iter().copied().chain([4_000_000]) {
        let groups = cache.of(Caller { uid: 1, gid, pid: std::process::id() });
        assert!(!groups.contains(&gid));
    }
}
